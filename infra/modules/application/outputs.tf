output "functions" {
  description = "The functions by their component."
  value       = aws_lambda_function.this
}

output "aliases" {
  description = "The aliases that are called, by component."
  value       = aws_lambda_alias.this
}

output "event_source_mappings" {
  description = "The mappings of the queues `outcomes` and `slots`."
  value       = aws_lambda_event_source_mapping.this
}

output "republish_rules" {
  description = "The rule of each country."
  value       = aws_cloudwatch_event_rule.republish
}

output "republish_targets" {
  description = "The target of each country's rule."
  value       = aws_cloudwatch_event_target.republish
}

output "republish_permissions" {
  description = "The permissions by which each country's rule calls the function."
  value       = aws_lambda_permission.republish
}

output "republish_repetition" {
  description = "How Lambda repeats a call of the schedule."
  value       = aws_lambda_function_event_invoke_config.republish
}

output "roles" {
  description = "Names of the execution roles."
  value       = { for name, role in aws_iam_role.function : name => role.name }
}

output "role_trusts" {
  description = "Trust policies, as JSON, of the execution roles."
  value       = { for component, role in aws_iam_role.function : component => role.assume_role_policy }
}

output "role_policies" {
  description = "Policies, as JSON, of the execution roles."
  value       = { for component, policy in aws_iam_role_policy.function : component => policy.policy }
}
