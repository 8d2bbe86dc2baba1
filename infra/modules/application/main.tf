data "aws_caller_identity" "current" {}

locals {
  built_architecture_file = "${trimsuffix(var.package, ".zip")}.architecture"
}

# Three functions from one zip; each runs one component of spin.toml.
resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:Each message and log line has a traceparent; X-Ray would be a second trace
  #checkov:skip=CKV_AWS_115:Reserved concurrency is a variable with a default; a new account has too little for it
  #checkov:skip=CKV_AWS_116:API Gateway waits for the response, the queues have dead-letter queues, and the schedule calls again each minute
  #checkov:skip=CKV_AWS_117:The functions call only DynamoDB, SNS and EventBridge, by their public endpoints; a VPC would only add endpoints
  #checkov:skip=CKV_AWS_173:The variables hold names, addresses and public keys; whoever may read the function's settings may know the audit key
  #checkov:skip=CKV_AWS_272:The zip is built and applied by the same pipeline; its checksum is source_code_hash
  for_each = var.functions

  function_name    = each.value.name
  description      = each.value.description
  role             = aws_iam_role.function[each.key].arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = each.value.memory_mib
  timeout          = each.value.timeout_seconds
  publish          = true

  # 0 refuses every call: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
  reserved_concurrent_executions = each.key == "intake" && each.value.paused ? 0 : each.value.reserved_concurrency

  environment {
    variables = each.value.environment
  }

  logging_config {
    log_format = "Text" # The function writes JSON lines itself.
    log_group  = var.log_groups[each.key]
  }

  lifecycle {
    precondition {
      condition     = try(trimspace(file(local.built_architecture_file)), "") == var.architecture
      error_message = "${local.built_architecture_file} must say ${var.architecture}, the architecture for which the zip beside it was built."
    }
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    precondition {
      condition     = length(jsonencode(each.value.environment)) < 4096
      error_message = "The environment of ${each.value.name} is above Lambda's 4 KB: set authentication.jwks_url instead of authentication.keys."
    }
  }

  # IAM needs seconds for a new role and its policy; the provider repeats the call until Lambda can assume the role and use its permissions.
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
  depends_on = [aws_iam_role_policy.function]
}

# API Gateway, the queues and the schedule call the alias: a published version, which keeps its code and its environment.
resource "aws_lambda_alias" "this" {
  for_each = aws_lambda_function.this

  name             = var.alias
  description      = "The version that is called"
  function_name    = each.value.function_name
  function_version = each.value.version

  # The reader of a new kind of message is deployed before its writer: var.serve_after.
  depends_on = [var.serve_after]
}

# SQS_CONFIRMATION and SQS_SLOTS.

resource "aws_lambda_event_source_mapping" "this" {
  for_each = var.queues

  event_source_arn                   = each.value.arn
  function_name                      = aws_lambda_alias.this["confirmation"].arn
  batch_size                         = each.value.batch_size
  maximum_batching_window_in_seconds = each.value.batching_window
  function_response_types            = each.value.function_response_types
  enabled                            = !var.functions["confirmation"].paused

  scaling_config {
    maximum_concurrency = each.value.maximum_concurrency
  }

  lifecycle {
    # Otherwise Lambda takes batches from the queue and then throttles them, and each uses up a receive. It must be lower, because the
    # schedule calls the function too. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    precondition {
      condition = var.functions["confirmation"].reserved_concurrency == null || try(
        sum(values(var.queues)[*].maximum_concurrency) + length(var.republish.countries) <= var.functions["confirmation"].reserved_concurrency, false
      )
      error_message = "maximum_concurrency and slots_maximum_concurrency, and one call for each country's republishing, must fit into the reserved concurrency of the function: each batch that Lambda throttles uses up a receive."
    }
    precondition {
      condition     = each.value.visibility_timeout >= 6 * var.functions["confirmation"].timeout_seconds
      error_message = "The queue's visibility_timeout must be at least six times the function's time-out (AWS Lambda, \"Using Lambda with Amazon SQS\")."
    }
  }
}

moved {
  from = aws_lambda_event_source_mapping.outcomes
  to   = aws_lambda_event_source_mapping.this["outcomes"]
}

# Republishing, each minute for each country. Only the default bus has schedules.

locals {
  republish_minutes = var.republish.interval_seconds / 60
}

resource "aws_cloudwatch_event_rule" "republish" {
  for_each = var.republish.countries

  name        = each.value.rule
  description = "Republishes the commands that ${each.key} has not decided"
  state       = var.functions["confirmation"].paused ? "DISABLED" : "ENABLED"
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

resource "aws_cloudwatch_event_target" "republish" {
  for_each = aws_cloudwatch_event_rule.republish

  rule      = each.value.name
  target_id = "function"
  arn       = aws_lambda_alias.this["confirmation"].arn
  input     = var.republish.countries[each.key].input

  depends_on = [aws_lambda_permission.republish]
}

resource "aws_lambda_permission" "republish" {
  for_each = aws_cloudwatch_event_rule.republish

  statement_id   = each.value.name
  function_name  = aws_lambda_alias.this["confirmation"].function_name
  qualifier      = aws_lambda_alias.this["confirmation"].name
  action         = "lambda:InvokeFunction"
  principal      = "events.amazonaws.com"
  source_arn     = each.value.arn
  source_account = data.aws_caller_identity.current.account_id
}

# EventBridge calls asynchronously. By default Lambda would repeat a failed call twice, within six hours; the next minute's call does the
# same work. https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
resource "aws_lambda_function_event_invoke_config" "republish" {
  function_name                = aws_lambda_alias.this["confirmation"].function_name
  qualifier                    = aws_lambda_alias.this["confirmation"].name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}
