locals {
  # One entry per alarm. Periods are in seconds; an alarm needs `evaluation_periods` periods in a row.
  alarms = merge(
    { for queue in var.dead_letter_queues : "${queue}-not-empty" => {
      description        = "There is a message in ${queue}, which nothing consumes: read it, remove the cause, redrive it"
      namespace          = "AWS/SQS"
      metric             = "ApproximateNumberOfMessagesVisible"
      dimensions         = { QueueName = queue }
      statistic          = "Maximum"
      period             = 60
      evaluation_periods = 1
      threshold          = 0
      comparison         = "GreaterThanThreshold"
    } },
    { for queue in var.queues : "${queue}-age" => {
      description        = "The oldest message of ${queue} has waited for more than ${var.message_age_seconds} s"
      namespace          = "AWS/SQS"
      metric             = "ApproximateAgeOfOldestMessage"
      dimensions         = { QueueName = queue }
      statistic          = "Maximum"
      period             = 60
      evaluation_periods = 3
      threshold          = var.message_age_seconds
      comparison         = "GreaterThanThreshold"
    } },
    { for pair in setproduct(var.functions, ["Errors", "Throttles"]) : "${pair[0]}-${lower(pair[1])}" => {
      description        = "Lambda counts ${lower(pair[1])} of ${pair[0]}"
      namespace          = "AWS/Lambda"
      metric             = pair[1]
      dimensions         = { FunctionName = pair[0] }
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 1
      threshold          = 0
      comparison         = "GreaterThanThreshold"
    } },
    { for function in var.asynchronous_functions : "${function}-events-dropped" => {
      description        = "Lambda gave up a call of ${function} by its schedule: it was throttled, or it failed"
      namespace          = "AWS/Lambda"
      metric             = "AsyncEventsDropped"
      dimensions         = { FunctionName = function }
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 3
      threshold          = 0
      comparison         = "GreaterThanThreshold"
    } },
    { for rule, dimensions in var.rules : "${rule}-failedinvocations" => {
      description        = "EventBridge could not deliver for the rule ${rule}"
      namespace          = "AWS/Events"
      metric             = "FailedInvocations"
      dimensions         = dimensions
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 5
      threshold          = 0
      comparison         = "GreaterThanThreshold"
    } },
    { for database in var.databases : "${database}-cpu" => {
      description        = "The database ${database} has used more than 80 % of its CPU for a quarter of an hour"
      namespace          = "AWS/RDS"
      metric             = "CPUUtilization"
      dimensions         = { DBInstanceIdentifier = database }
      statistic          = "Average"
      period             = 300
      evaluation_periods = 3
      threshold          = 80
      comparison         = "GreaterThanThreshold"
    } },
    { for database in var.databases : "${database}-storage" => {
      description        = "The database ${database} has less than 2 GiB left, though its storage grows by itself"
      namespace          = "AWS/RDS"
      metric             = "FreeStorageSpace"
      dimensions         = { DBInstanceIdentifier = database }
      statistic          = "Minimum"
      period             = 300
      evaluation_periods = 1
      threshold          = 2 * 1024 * 1024 * 1024
      comparison         = "LessThanThreshold"
    } },
    { for database in var.databases : "${database}-connections" => {
      description        = "The database ${database} has many more connections than the worker may open"
      namespace          = "AWS/RDS"
      metric             = "DatabaseConnections"
      dimensions         = { DBInstanceIdentifier = database }
      statistic          = "Maximum"
      period             = 300
      evaluation_periods = 1
      threshold          = 2 * var.worker_maximum_concurrency + 10
      comparison         = "GreaterThanThreshold"
    } },
    { for line, pattern in local.error_lines : line => {
      description        = "${line}: a line of level ERROR in ${var.log_groups[pattern.log_group]}"
      namespace          = var.name
      metric             = line
      dimensions         = {}
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 1
      threshold          = 0
      comparison         = "GreaterThanThreshold"
    } },
    { for metric, value in var.log_values : metric => {
      description        = value.description
      namespace          = var.name
      metric             = metric
      dimensions         = {}
      statistic          = "Maximum"
      period             = 60
      evaluation_periods = 3
      threshold          = value.threshold
      comparison         = "GreaterThanThreshold"
    } },
  )

  # Shares of the requests, in percent; a share of too few requests says nothing.
  api_rates = {
    "5xx" = { description = "The application fails, or cannot be reached", percent = 5, requests = 10 }
    "4xx" = { description = "Most requests are refused: is it the issuer's keys, a client's new version, or somebody who tries things out?", percent = 50, requests = 50 }
  }

  # By the name of metric and alarm: the function, and the reason in its line. All other lines count as `other-error`.
  error_lines = merge([
    for function, source in var.error_lines : merge(
      { for reason, message in source.messages : "${function}-${reason}" => {
        log_group = source.log_group
        pattern   = "{ ($.level = \"ERROR\") && ($.message = \"${message}\") }"
      } },
      { "${function}-other-error" = {
        log_group = source.log_group
        pattern   = "{ ${join(" && ", concat(["($.level = \"ERROR\")"], [for message in values(source.messages) : "($.message != \"${message}\")"]))} }"
      } },
    )
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = each.key
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.evaluation_periods
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "api_rate" {
  for_each = local.api_rates

  alarm_name          = "${var.api.name}-${each.key}-rate"
  alarm_description   = "${each.value.description}: ${each.key} for more than ${each.value.percent} % of at least ${each.value.requests} requests in 5 minutes"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.percent
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions

  metric_query {
    id          = "rate"
    label       = "${each.key}, percent"
    expression  = "IF(requests >= ${each.value.requests}, 100 * refused / requests, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { refused = each.key, requests = "Count" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApiGateway"
        metric_name = metric_query.value
        dimensions  = { ApiId = var.api.id }
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "error_line" {
  for_each = local.error_lines

  name           = each.key
  log_group_name = aws_cloudwatch_log_group.this[each.value.log_group].name
  pattern        = each.value.pattern

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "1"
  }
}

resource "aws_cloudwatch_log_metric_filter" "value" {
  for_each = var.log_values

  name           = each.key
  log_group_name = aws_cloudwatch_log_group.this[each.value.log_group].name
  pattern        = "{ $.${each.value.field} = * }"

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "$.${each.value.field}"
  }
}
