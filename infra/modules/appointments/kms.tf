locals {
  keys = {
    table = {
      description = "The tables ${var.table.name} and ${var.slots_table.name}"
      services    = ["dynamodb"]
    }
    topic = {
      description = "The topic ${var.topic_name}"
      services    = ["sns"]
    }
    queue = {
      description = "The queues ${var.confirmation_queue.name} and ${var.slots_queue.name}, and their dead-letter queues"
      services    = ["sqs"]
      # EventBridge encrypts what it sends, to the queues and to the targets' dead-letter queues, for these rules only.
      service_uses = [{
        sid     = "DeliverFromRules"
        service = "events.amazonaws.com"
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        condition = {
          ArnEquals    = { "aws:SourceArn" = [for rule in aws_cloudwatch_event_rule.this : rule.arn] }
          StringEquals = { "aws:SourceAccount" = [data.aws_caller_identity.current.account_id] }
        }
      }]
    }
  }
}

module "key" {
  source   = "../encryption-key"
  for_each = local.keys

  alias        = "${var.table.name}/${each.key}"
  description  = each.value.description
  services     = each.value.services
  service_uses = try(each.value.service_uses, [])
  deletable    = var.keys_deletable
}
