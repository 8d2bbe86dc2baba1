provider "aws" {
  region = var.region

  default_tags {
    tags = {
      application = "medical-appointments"
      environment = "production"
      managed-by  = "terraform"
    }
  }
}

module "backplane" {
  source = "../.."

  authentication       = var.authentication
  audit_key            = var.audit_key
  cors_allowed_origins = var.cors_allowed_origins

  packages = {
    directory    = "${path.module}/../../../target/package"
    architecture = "arm64"
  }

  # Peru books about ten times as much as Chile.
  database           = { instance_class = "db.t4g.medium", backup_retention_days = 35 }
  database_overrides = { PE = { instance_class = "db.m7g.large", allocated_storage_gib = 100, max_allocated_storage_gib = 1000 } }

  network = { cidr = "10.20.0.0/20", availability_zone_count = 3 }

  api = {
    throttling       = { rate_per_second = 500, burst = 1000 }
    detailed_metrics = true
    domain           = var.domain
  }

  alarm_actions = [aws_sns_topic.alarms.arn]
}

# Alarms go to this topic; CloudWatch must be able to use its key.
resource "aws_sns_topic" "alarms" {
  name              = "appointments-alarms"
  kms_master_key_id = module.alarms_key.arn
}

resource "aws_sns_topic_subscription" "operators" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.operators_email
}

data "aws_caller_identity" "current" {}

module "alarms_key" {
  source = "../../modules/encryption-key"

  alias       = "appointments-alarms"
  description = "The topic of the alarms"
  services    = ["sns"]
  deletable   = true # It keeps nothing.

  service_uses = [{
    sid       = "TellFromAlarms"
    service   = "cloudwatch.amazonaws.com"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    condition = { StringEquals = { "aws:SourceAccount" = [data.aws_caller_identity.current.account_id] } }
  }]
}
