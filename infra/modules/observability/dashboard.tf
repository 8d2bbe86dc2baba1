locals {
  region = data.aws_region.current.region

  # What an operator looks at first, from the client inwards; `metrics` in CloudWatch's short form.
  widgets = [
    {
      title = "Requests at the API"
      stat  = "Sum"
      metrics = [
        for metric in ["Count", "4xx", "5xx"] : ["AWS/ApiGateway", metric, "ApiId", var.api.id]
      ]
    },
    {
      title = "Latency of the API, p99 (ms)"
      stat  = "p99"
      metrics = [
        for metric in ["Latency", "IntegrationLatency"] : ["AWS/ApiGateway", metric, "ApiId", var.api.id]
      ]
    },
    {
      title   = "Age of the oldest message (s)"
      stat    = "Maximum"
      metrics = [for queue in var.queues : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue]]
    },
    {
      title   = "Dead letters"
      stat    = "Maximum"
      metrics = [for queue in var.dead_letter_queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]]
    },
    {
      title = "Functions: invocations, errors, throttles"
      stat  = "Sum"
      metrics = [
        for pair in setproduct(var.functions, ["Invocations", "Errors", "Throttles"]) : ["AWS/Lambda", pair[1], "FunctionName", pair[0]]
      ]
    },
    {
      title   = "Functions: duration, p99 (ms)"
      stat    = "p99"
      metrics = [for function in var.functions : ["AWS/Lambda", "Duration", "FunctionName", function]]
    },
    {
      title = "Lines of level ERROR"
      stat  = "Sum"
      metrics = [
        for line in keys(local.error_lines) : [var.name, line]
      ]
    },
    {
      title = "Databases: CPU (%) and connections"
      stat  = "Average"
      metrics = [
        for pair in setproduct(var.databases, ["CPUUtilization", "DatabaseConnections"]) : ["AWS/RDS", pair[1], "DBInstanceIdentifier", pair[0]]
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for index, widget in local.widgets : {
        type   = "metric"
        width  = 12
        height = 6
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        properties = {
          title   = widget.title
          region  = local.region
          stat    = widget.stat
          period  = 60
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}
