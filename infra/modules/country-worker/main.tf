data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

# Requests: topic -> queue -> function.

resource "aws_sqs_queue" "requests" {
  name                       = var.queue.name
  visibility_timeout_seconds = var.durations.visibility_timeout
  message_retention_seconds  = var.durations.queue_retention
  kms_master_key_id          = module.key["queue"].arn

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.queue.max_receive_count
  })

  lifecycle {
    precondition {
      condition     = var.durations.visibility_timeout >= 6 * var.durations.worker_timeout
      error_message = "visibility_timeout must be at least six times worker_timeout (AWS Lambda, \"Using Lambda with Amazon SQS\")."
    }
    precondition {
      condition = alltrue([
        length(var.durations.receive_delays) == var.queue.max_receive_count - 1,
        sum(var.durations.receive_delays) > 30 * 60,
        # If the worker cannot set the visibility of a message that it leaves.
        (var.queue.max_receive_count - 1) * var.durations.visibility_timeout > 30 * 60,
      ])
      error_message = "A database outage of 30 minutes would send requests to the dead-letter queue: raise max_receive_count and receive_delays (one fewer), or visibility_timeout."
    }
  }
}

resource "aws_sqs_queue" "dead_letter" {
  name                      = var.queue.dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  queue_url = aws_sqs_queue.dead_letter.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.requests.arn]
  })
}

# Messages that SNS could not deliver to the queue.
resource "aws_sqs_queue" "undelivered" {
  name                      = var.queue.delivery_dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_policy" "delivery" {
  for_each = {
    queue       = aws_sqs_queue.requests
    undelivered = aws_sqs_queue.undelivered
  }

  queue_url = each.value.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DeliverFromSource"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = each.value.arn
      Condition = { ArnEquals = { "aws:SourceArn" = var.topic_arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "requests" {
  topic_arn            = var.topic_arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.requests.arn
  raw_message_delivery = var.queue.subscription.raw_message_delivery
  filter_policy_scope  = "MessageAttributes"
  filter_policy        = jsonencode(var.queue.subscription.filter_policy)
  redrive_policy       = jsonencode({ deadLetterTargetArn = aws_sqs_queue.undelivered.arn })

  depends_on = [aws_sqs_queue_policy.delivery]
}

resource "aws_lambda_event_source_mapping" "requests" {
  event_source_arn                   = aws_sqs_queue.requests.arn
  function_name                      = aws_lambda_alias.worker.arn
  batch_size                         = var.worker.batch_size
  maximum_batching_window_in_seconds = var.durations.batching_window
  function_response_types            = var.worker.function_response_types
  enabled                            = !var.paused

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }

  # Otherwise Lambda takes batches from the queue and then throttles them, and each uses up a receive. It must be lower, because others
  # call the function too.
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
  lifecycle {
    precondition {
      condition     = var.reserved_concurrency == null || try(var.maximum_concurrency < var.reserved_concurrency, false)
      error_message = "maximum_concurrency must be below reserved_concurrency: each batch that Lambda throttles uses up a receive."
    }
  }
}
