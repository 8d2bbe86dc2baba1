locals {
  keys = {
    table = {
      description = "The table ${var.table.name}"
      services    = ["dynamodb"]
    }
    topic = {
      description = "The topic ${var.topic_name}"
      services    = ["sns"]
    }
    queue = {
      description = "The queue ${var.confirmation_queue.name} and its dead-letter queues"
      services    = ["sqs"]
      # EventBridge encrypts what it sends, to the queue and to the target's dead-letter queue, for this rule only.
      service_uses = [{
        sid     = "DeliverFromRule"
        service = "events.amazonaws.com"
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        condition = {
          ArnEquals    = { "aws:SourceArn" = [aws_cloudwatch_event_rule.outcomes.arn] }
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
