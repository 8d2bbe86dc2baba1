# State holds access keys where intake runs at the edge, so it is encrypted, versioned, and read by deployers only. Bucket and key are given at
# `terraform init -backend-config=…`; see the README.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
