locals {
  # One entry an alarm. Periods are in seconds; an alarm needs `evaluation_periods` periods in a row.
  alarms = merge(
    { for queue in var.dead_letter_queues : "${queue}-not-empty" => {
      description        = "A message waits in ${queue}, which nothing consumes: look at it, mend the cause, redrive it"
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
      description        = "The oldest message of ${queue} waits for more than ${var.message_age_seconds} s"
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
    { for metric in ["ExecutionFailed", "ExecutionThrottled", "ExecutionTimeout"] : "${var.pipe.name}-${lower(metric)}" => {
      description        = "The pipe ${var.pipe.name} cannot deliver to the confirmation component"
      namespace          = "AWS/EventBridge/Pipes"
      metric             = metric
      dimensions         = { AwsAccount = data.aws_caller_identity.current.account_id, PipeName = var.pipe.name }
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 5
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
      description        = "The database ${database} has had no time to spare for a quarter of an hour"
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
    { "${var.api.name}-5xx" = {
      description        = "The application, or the way to it, fails"
      namespace          = "AWS/ApiGateway"
      metric             = "5xx"
      dimensions         = { ApiId = var.api.id }
      statistic          = "Sum"
      period             = 60
      evaluation_periods = 3
      threshold          = 5
      comparison         = "GreaterThanThreshold"
    } },
  )
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

# EventBridge switches a pipe off whose target answers 4xx nearly all the time, and publishes no metric for its state:
# messages that wait while the pipe does nothing are the sign.
resource "aws_cloudwatch_metric_alarm" "pipe_stopped" {
  alarm_name          = "${var.pipe.name}-stopped"
  alarm_description   = "Outcomes wait in ${var.pipe.source_queue}, but the pipe ${var.pipe.name} does not run: is its state RUNNING?"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions

  metric_query {
    id          = "stopped"
    label       = "Messages waiting for a pipe that does not run"
    expression  = "IF(FILL(invocations, 0) == 0, waiting, 0)"
    return_data = true
  }

  metric_query {
    id = "waiting"

    metric {
      namespace   = "AWS/SQS"
      metric_name = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = var.pipe.source_queue }
      stat        = "Maximum"
      period      = 60
    }
  }

  metric_query {
    id = "invocations"

    metric {
      namespace   = "AWS/EventBridge/Pipes"
      metric_name = "Invocations"
      dimensions  = { AwsAccount = data.aws_caller_identity.current.account_id, PipeName = var.pipe.name }
      stat        = "Sum"
      period      = 60
    }
  }
}
