locals {
  keys = {
    queue = {
      description = "The queue ${var.queue.name} and its dead-letter queues"
      services    = ["sqs"]
      # SNS encrypts what it sends, to the queue and to the subscription's dead-letter queue, for this topic only.
      service_uses = [{
        sid     = "DeliverFromTopic"
        service = "sns.amazonaws.com"
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        condition = {
          ArnEquals    = { "aws:SourceArn" = [var.topic_arn] }
          StringEquals = { "aws:SourceAccount" = [data.aws_caller_identity.current.account_id] }
        }
      }]
    }
    database = {
      description = "The database of ${var.country}, its backups and its performance data"
      services    = ["rds"]
    }
    slots = {
      description = "The files of slots of ${var.country}, which name practitioners, and their reports"
      services    = ["s3"]
    }
    secret = {
      description = "The master password of the database of ${var.country}"
      # RDS creates the secret with the permissions of whoever creates the database: kms:DescribeKey, Decrypt, GenerateDataKey and CreateGrant.
      # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html#rds-secrets-manager-permissions
      services = ["rds", "secretsmanager"]
    }
  }
}

module "key" {
  source   = "../encryption-key"
  for_each = local.keys

  alias        = "${var.worker.function}/${each.key}"
  description  = each.value.description
  services     = each.value.services
  service_uses = try(each.value.service_uses, [])
  deletable    = var.keys_deletable
}
