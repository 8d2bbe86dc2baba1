data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  log_group_arn_prefix = "arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:log-group"
}

module "key" {
  source = "../encryption-key"

  alias       = "${var.name}/logs"
  description = "The log groups of ${var.name}"
  services    = []
  deletable   = var.keys_deletable

  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
  service_uses = [{
    sid       = "EncryptLogGroups"
    service   = "logs.${data.aws_region.current.region}.amazonaws.com"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = [for name in var.log_groups : "${local.log_group_arn_prefix}:${name}"] } }
  }]
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:Retention is a variable, a year by default; a trial may keep less
  for_each = var.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = module.key.arn
}
