output "log_groups" {
  description = "Log groups by logical name."
  value       = aws_cloudwatch_log_group.this
}

output "alarms" {
  description = "Names of the alarms, each with the metric that it watches."
  value = merge(
    { for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.namespace} ${alarm.metric_name}" },
    { (aws_cloudwatch_metric_alarm.pipe_stopped.alarm_name) = "AWS/EventBridge/Pipes Invocations" },
  )
}

output "key" {
  description = "Key of the log groups: ARN, policy, rotation."
  value       = module.key
}

output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
