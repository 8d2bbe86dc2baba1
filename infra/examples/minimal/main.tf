provider "aws" {
  region = var.region

  default_tags {
    tags = {
      application = "medical-appointments"
      environment = "trial"
      managed-by  = "terraform"
    }
  }
}

# One country, the smallest database, nothing protected: to try the system out, and to take it down again.
module "backplane" {
  source = "../.."

  application_url     = var.application_url
  internal_api_key    = var.internal_api_key
  authentication      = var.authentication
  countries           = ["PE"]
  packages            = { directory = "${path.module}/../../../target/package" }
  component_trust     = { iam_users = true }
  database            = { instance_class = "db.t4g.micro", multi_az = false, backup_retention_days = 1 }
  deletion_protection = false
  log_retention_days  = 7
}
