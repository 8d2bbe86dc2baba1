output "table" {
  description = "The table."
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
  description = "Keys by what they encrypt (`table`, `topic`, `queue`, `connection`): ARN, policy, rotation."
  value       = module.key
}

output "pipe" {
  description = "The pipe."
  value       = aws_pipes_pipe.confirmations
}

output "connection" {
  description = "Key and header of the connection, without the secret."
  value = {
    arn                = aws_cloudwatch_event_connection.internal_api.arn
    kms_key_identifier = aws_cloudwatch_event_connection.internal_api.kms_key_identifier
    header             = nonsensitive(aws_cloudwatch_event_connection.internal_api.auth_parameters[0].api_key[0].key)
  }
}

output "destinations" {
  description = "API destinations: `confirmations` and `republish`."
  value = {
    confirmations = aws_cloudwatch_event_api_destination.confirmations
    republish     = aws_cloudwatch_event_api_destination.republish
  }
}

output "republish_rule" {
  description = "The republish schedule."
  value       = aws_cloudwatch_event_rule.republish
}

output "republish_targets" {
  description = "The schedule's targets, by country."
  value       = aws_cloudwatch_event_target.republish
}

output "role_trusts" {
  description = "Trust policies, as JSON, of the roles `pipe` and `republisher`."
  value       = { for name, role in aws_iam_role.service : name => role.assume_role_policy }
}

output "role_policies" {
  description = "Policies, as JSON, of the roles `pipe` and `republisher`."
  value       = { for name, policy in aws_iam_role_policy.service : name => policy.policy }
}
