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

# One country, the smallest database, nothing protected: for a trial that is taken down afterwards. A new account has too little
# concurrency for reservations.
module "backplane" {
  source = "../.."

  name_prefix    = "trial-"
  authentication = var.authentication
  countries      = ["PE"]
  packages       = { directory = "${path.module}/../../../target/package" }

  functions = {
    intake       = { reserved_concurrency = -1 }
    booking_page = { reserved_concurrency = -1 }
    confirmation = { reserved_concurrency = -1, maximum_concurrency = 2 }
    worker       = { reserved_concurrency = -1, maximum_concurrency = 2 }
  }

  database = {
    instance_class        = "db.t4g.micro"
    multi_az              = false
    backup_retention_days = 1
    deletion_protection   = false
    final_snapshot        = false
    apply_immediately     = true
  }
  table_deletion_protection = false
  keys_deletable            = true
  log_retention_days        = 7
}
