data "aws_caller_identity" "current" {}

locals {
  index = var.table.index

  # By the suffix of their names; the last one serves.
  tables  = { for table in var.tables : table.suffix => table }
  serving = var.tables[length(var.tables) - 1].suffix
}

resource "aws_dynamodb_table" "this" {
  for_each = local.tables

  name                        = "${var.table.name}${each.key}"
  billing_mode                = var.table.billing_mode
  hash_key                    = var.table.partition_key.name
  range_key                   = var.table.sort_key.name
  deletion_protection_enabled = coalesce(each.value.deletion_protection, var.deletion_protection)

  # A restored table has a new name, and leaves the earlier one as it is:
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/pointintimerecovery_howitworks.html
  restore_source_name    = try(each.value.restore.source_name, null)
  restore_date_time      = try(each.value.restore.time, null)
  restore_to_latest_time = try(each.value.restore.time == null ? true : null, null)

  dynamic "attribute" {
    for_each = [var.table.partition_key, var.table.sort_key, local.index.partition_key, local.index.sort_key]

    content {
      name = attribute.value.name
      type = attribute.value.type
    }
  }

  global_secondary_index {
    name               = local.index.name
    hash_key           = local.index.partition_key.name
    range_key          = local.index.sort_key.name
    projection_type    = "INCLUDE"
    non_key_attributes = local.index.projected_attributes
  }

  # A restored table does not inherit these two.
  ttl {
    attribute_name = var.table.time_to_live_attribute
    enabled        = true
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = 35
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = module.key["table"].arn
  }
}

resource "aws_sns_topic" "commands" {
  name              = var.topic_name
  kms_master_key_id = module.key["topic"].arn
}

# Between the bus and the confirmation component.

resource "aws_sqs_queue" "confirmation" {
  name                       = var.confirmation_queue.name
  visibility_timeout_seconds = var.durations.visibility_timeout
  message_retention_seconds  = var.durations.queue_retention
  receive_wait_time_seconds  = var.durations.confirmation_receive_wait
  kms_master_key_id          = module.key["queue"].arn

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.confirmation_dead_letter.arn
    maxReceiveCount     = var.confirmation_queue.max_receive_count
  })

  lifecycle {
    precondition {
      condition = alltrue([
        length(var.durations.receive_delays) == var.confirmation_queue.max_receive_count - 1,
        sum(var.durations.receive_delays) > 30 * 60,
        # Where the function cannot set the visibility of what it leaves.
        (var.confirmation_queue.max_receive_count - 1) * var.durations.visibility_timeout > 30 * 60,
      ])
      error_message = "An outage of 30 minutes would send confirmations to the dead-letter queue: raise max_receive_count and receive_delays (one fewer), or visibility_timeout."
    }
  }
}

resource "aws_sqs_queue" "confirmation_dead_letter" {
  name                      = var.confirmation_queue.dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_redrive_allow_policy" "confirmation_dead_letter" {
  queue_url = aws_sqs_queue.confirmation_dead_letter.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.confirmation.arn]
  })
}

# What EventBridge could not deliver to the queue; an event, not a message of the queue.
resource "aws_sqs_queue" "confirmation_undelivered" {
  name                      = var.confirmation_queue.delivery_dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_policy" "confirmation" {
  for_each = {
    queue       = aws_sqs_queue.confirmation
    undelivered = aws_sqs_queue.confirmation_undelivered
  }

  queue_url = each.value.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DeliverFromSource"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = each.value.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.outcomes.arn } }
    }]
  })
}

# The bus, and the rule that feeds the queue.

resource "aws_cloudwatch_event_bus" "this" {
  name        = var.bus.name
  description = "Outcomes of the countries, and status changes for whoever notifies people"
}

resource "aws_cloudwatch_event_archive" "this" {
  name             = var.bus.archive
  description      = "For a replay after a fault of the confirmation component"
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.durations.archive_retention / (24 * 60 * 60)
}

resource "aws_cloudwatch_event_rule" "outcomes" {
  name           = var.bus.rule.name
  description    = "What the countries' workers decided, and nothing that the confirmation component says itself"
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode(var.bus.rule.event_pattern)
}

resource "aws_cloudwatch_event_target" "confirmation_queue" {
  rule           = aws_cloudwatch_event_rule.outcomes.name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = "confirmation-queue"
  arn            = aws_sqs_queue.confirmation.arn

  # EventBridge's maximum: a day, 185 attempts.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.confirmation_undelivered.arn
  }

  depends_on = [aws_sqs_queue_policy.confirmation]
}
