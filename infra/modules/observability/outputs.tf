output "log_groups" {
  description = "Log groups by logical name."
  value       = aws_cloudwatch_log_group.this
}

output "alarms" {
  description = "The alarms by name, each with the metrics that it watches."
  value = merge(
    { for name, alarm in aws_cloudwatch_metric_alarm.this : name => [
      { namespace = alarm.namespace, metric = alarm.metric_name, dimensions = alarm.dimensions == null ? {} : alarm.dimensions }
    ] },
    { for alarm in aws_cloudwatch_metric_alarm.api_rate : alarm.alarm_name => [
      for query in alarm.metric_query : { namespace = query.metric[0].namespace, metric = query.metric[0].metric_name, dimensions = query.metric[0].dimensions }
      if length(query.metric) > 0
    ] },
  )
}

output "metric_filters" {
  description = "The metric filters of the log groups, by the name of the metric."
  value = merge(
    { for name, filter in aws_cloudwatch_log_metric_filter.error_line : name => filter },
    { for name, filter in aws_cloudwatch_log_metric_filter.value : name => filter },
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
