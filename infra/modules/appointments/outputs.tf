output "table" {
  description = "The table that serves."
  value       = aws_dynamodb_table.this[local.serving]
}

output "tables" {
  description = "Every table by its suffix: the one that serves, and those that were kept when it was restored."
  value       = aws_dynamodb_table.this
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

output "rule" {
  description = "The rule that feeds the confirmation queue."
  value       = aws_cloudwatch_event_rule.outcomes
}

output "rule_target" {
  description = "The rule's target."
  value       = aws_cloudwatch_event_target.confirmation_queue
}

output "queues" {
  description = "The confirmation queue and its dead-letter queues: `queue`, `dead_letter`, `undelivered`."
  value = {
    queue       = aws_sqs_queue.confirmation
    dead_letter = aws_sqs_queue.confirmation_dead_letter
    undelivered = aws_sqs_queue.confirmation_undelivered
  }
}

output "queue_policies" {
  description = "Policies, as JSON, of the queues to which EventBridge delivers."
  value       = { for name, policy in aws_sqs_queue_policy.confirmation : name => policy.policy }
}

output "keys" {
  description = "Keys by what they encrypt (`table`, `topic`, `queue`): ARN, policy, rotation."
  value       = module.key
}
