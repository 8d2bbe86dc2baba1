# The state holds access keys if intake runs at the edge. Therefore it is encrypted and versioned, and only deployers may read it.
# `terraform init -backend-config=…` names bucket and key: docs/deploy.md.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
