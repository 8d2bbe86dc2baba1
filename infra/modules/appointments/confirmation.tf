# How AWS calls the confirmation component: the pipe for outcomes, the schedule for republishing.

resource "aws_cloudwatch_event_connection" "internal_api" {
  name               = var.confirmation.connection
  description        = "The key of the application's internal routes"
  authorization_type = "API_KEY"
  kms_key_identifier = module.key["connection"].arn

  auth_parameters {
    api_key {
      key   = var.confirmation.api_key_header
      value = var.internal_api_key
    }
  }
}

resource "aws_cloudwatch_event_api_destination" "confirmations" {
  name                             = var.confirmation.pipe.destination
  description                      = "Applies one outcome"
  invocation_endpoint              = "${var.application_url}${var.confirmation.pipe.path}"
  http_method                      = "POST"
  invocation_rate_limit_per_second = var.confirmation_rate_limit
  connection_arn                   = aws_cloudwatch_event_connection.internal_api.arn
}

resource "aws_cloudwatch_event_api_destination" "republish" {
  name                             = var.confirmation.republish.destination
  description                      = "Republishes what a country left unanswered"
  invocation_endpoint              = "${var.application_url}${var.confirmation.republish.path}"
  http_method                      = "POST"
  invocation_rate_limit_per_second = 10
  connection_arn                   = aws_cloudwatch_event_connection.internal_api.arn
}

resource "aws_iam_role" "service" {
  for_each = var.service_roles

  name        = each.value.name
  description = "Assumed by ${each.value.service}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AssumeForThisAccount"
      Effect    = "Allow"
      Principal = { Service = each.value.service }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "service" {
  for_each = var.service_roles

  name   = each.value.name
  role   = aws_iam_role.service[each.key].id
  policy = each.value.policy
}

resource "aws_pipes_pipe" "confirmations" {
  name        = var.confirmation.pipe.name
  description = "Calls the confirmation component with one outcome a request"
  role_arn    = aws_iam_role.service["pipe"].arn
  source      = aws_sqs_queue.confirmation.arn
  target      = aws_cloudwatch_event_api_destination.confirmations.arn

  source_parameters {
    sqs_queue_parameters {
      batch_size                         = var.confirmation.pipe.batch_size
      maximum_batching_window_in_seconds = 0
    }
  }

  target_parameters {
    input_template = var.confirmation.pipe.input_template
  }

  # Without execution data, which is the message.
  log_configuration {
    level = "ERROR"

    cloudwatch_logs_log_destination {
      log_group_arn = var.pipe_log_group_arn
    }
  }

  # A pipe is validated with its role's rights.
  depends_on = [aws_iam_role_policy.service]
}

# A rule on the default bus, since EventBridge Scheduler has no API destination among its targets.
resource "aws_cloudwatch_event_rule" "republish" {
  name        = var.confirmation.republish.rule
  description = "Calls the republisher once for each country"
  schedule_expression = format(
    "rate(%d %s)", local.republish_minutes, local.republish_minutes == 1 ? "minute" : "minutes"
  )

  lifecycle {
    precondition {
      condition     = local.republish_minutes >= 1 && floor(local.republish_minutes) == local.republish_minutes
      error_message = "republish_interval must be a whole number of minutes: EventBridge has no shorter rate."
    }
  }
}

locals {
  republish_minutes = var.durations.republish_interval / 60
}

resource "aws_cloudwatch_event_target" "republish" {
  for_each = var.republish_targets

  rule      = aws_cloudwatch_event_rule.republish.name
  target_id = each.value
  arn       = aws_cloudwatch_event_api_destination.republish.arn
  role_arn  = aws_iam_role.service["republisher"].arn
  input     = jsonencode({ countryISO = each.key })

  # The next minute calls again; a retry would only run beside it.
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 0
  }

  depends_on = [aws_iam_role_policy.service]
}
