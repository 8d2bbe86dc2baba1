output "table" {
  description = "The table in use."
  value       = aws_dynamodb_table.this[local.serving]
}

output "tables" {
  description = "Every table by its suffix: the one in use, and those that were kept after a restore."
  value       = aws_dynamodb_table.this
}

output "slots_table" {
  description = "The table of slots."
  value       = aws_dynamodb_table.slots
}

output "topic" {
  description = "The topic."
  value       = aws_sns_topic.commands
}

output "bus" {
  description = "The bus."
  value       = aws_cloudwatch_event_bus.this
}

output "archive" {
  description = "The bus's archive."
  value       = aws_cloudwatch_event_archive.this
}

output "rules" {
  description = "The rules `outcomes` and `slots`."
  value       = aws_cloudwatch_event_rule.this
}

output "rule_targets" {
  description = "The target of each rule."
  value       = aws_cloudwatch_event_target.queue
}

output "queues" {
  description = "The queue that each rule feeds, with its dead-letter queues: `queue`, `dead_letter`, `undelivered`."
  value = {
    for rule in keys(local.queues) : rule => {
      queue       = aws_sqs_queue.this[rule]
      dead_letter = aws_sqs_queue.dead_letter[rule]
      undelivered = aws_sqs_queue.undelivered[rule]
    }
  }
}

output "queue_policies" {
  description = "Policies, as JSON, of the queues to which EventBridge delivers, by the rule."
  value = {
    for rule in keys(local.queues) : rule => {
      queue       = aws_sqs_queue_policy.delivery[rule].policy
      undelivered = aws_sqs_queue_policy.delivery["${rule}-undelivered"].policy
    }
  }
}

output "keys" {
  description = "Keys by what they encrypt (`table`, `topic`, `queue`): ARN, policy, rotation."
  value       = module.key
}
