data "aws_caller_identity" "current" {}

locals {
  index = var.table.index

  # By the suffix of their names; the last one is in use.
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

  # DynamoDB restores into a new table with another name; the earlier one stays as it is:
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

# The projection of the countries' slots. It is never restored: each country builds it again (`cargo xtask slots rebuild`).
resource "aws_dynamodb_table" "slots" {
  #checkov:skip=CKV_AWS_28:A projection, which its country builds again (cargo xtask slots rebuild); no backup is as current
  name                        = var.slots_table.name
  billing_mode                = var.slots_table.billing_mode
  hash_key                    = var.slots_table.partition_key.name
  deletion_protection_enabled = var.deletion_protection

  dynamic "attribute" {
    for_each = concat([var.slots_table.partition_key, var.slots_table.indexes.sort_key], values(var.slots_table.indexes.partition_keys))

    content {
      name = attribute.value.name
      type = attribute.value.type
    }
  }

  # Only free slots have these attributes. The index has whole items, because a page is read from the index alone.
  dynamic "global_secondary_index" {
    for_each = var.slots_table.indexes.partition_keys

    content {
      name            = global_secondary_index.key
      hash_key        = global_secondary_index.value.name
      range_key       = var.slots_table.indexes.sort_key.name
      projection_type = "ALL"
    }
  }

  ttl {
    attribute_name = var.slots_table.time_to_live_attribute
    enabled        = true
  }

  point_in_time_recovery {
    enabled = false
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

# Between the bus and the confirmation component: outcomes, and slots that changed without a command, which never delay them.

locals {
  # By the rule that feeds each.
  queues = { outcomes = var.confirmation_queue, slots = var.slots_queue }
}

resource "aws_sqs_queue" "this" {
  for_each = local.queues

  name                       = each.value.name
  visibility_timeout_seconds = var.durations.visibility_timeout
  message_retention_seconds  = var.durations.queue_retention
  receive_wait_time_seconds  = var.durations.confirmation_receive_wait
  kms_master_key_id          = module.key["queue"].arn

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter[each.key].arn
    maxReceiveCount     = each.value.max_receive_count
  })

  lifecycle {
    precondition {
      condition = alltrue([
        length(var.durations.receive_delays) == each.value.max_receive_count - 1,
        sum(var.durations.receive_delays) > 30 * 60,
        # If the function cannot set the visibility of a message that it leaves.
        (each.value.max_receive_count - 1) * var.durations.visibility_timeout > 30 * 60,
      ])
      error_message = "An outage of 30 minutes would send messages of ${each.value.name} to the dead-letter queue: raise max_receive_count and receive_delays (one fewer), or visibility_timeout."
    }
  }
}

resource "aws_sqs_queue" "dead_letter" {
  for_each = local.queues

  name                      = each.value.dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  for_each = local.queues

  queue_url = aws_sqs_queue.dead_letter[each.key].url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[each.key].arn]
  })
}

# What EventBridge could not deliver to the queue; an event, not a message of the queue.
resource "aws_sqs_queue" "undelivered" {
  for_each = local.queues

  name                      = each.value.delivery_dead_letter_queue
  message_retention_seconds = var.durations.dead_letter_retention
  kms_master_key_id         = module.key["queue"].arn
}

resource "aws_sqs_queue_policy" "delivery" {
  for_each = merge([for rule in keys(local.queues) : {
    "${rule}"             = { rule = rule, queue = aws_sqs_queue.this[rule] }
    "${rule}-undelivered" = { rule = rule, queue = aws_sqs_queue.undelivered[rule] }
  }]...)

  queue_url = each.value.queue.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DeliverFromSource"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = each.value.queue.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.this[each.value.rule].arn } }
    }]
  })
}

# The bus, and the rules that feed the queues.

resource "aws_cloudwatch_event_bus" "this" {
  name        = var.bus.name
  description = "Outcomes and slots of the countries, and status changes for services that notify people"
}

resource "aws_cloudwatch_event_archive" "this" {
  name             = var.bus.archive
  description      = "For a replay after a fault of the confirmation component"
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.durations.archive_retention / (24 * 60 * 60)
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.queues

  name = var.bus.rules[each.key].name
  description = {
    outcomes = "What the countries' workers decided, and nothing that the confirmation component says itself"
    slots    = "What the countries say of slots and catalogues that no command changed"
  }[each.key]
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode(var.bus.rules[each.key].event_pattern)
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = local.queues

  rule           = aws_cloudwatch_event_rule.this[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = { outcomes = "confirmation-queue", slots = "slots-queue" }[each.key]
  arn            = aws_sqs_queue.this[each.key].arn

  # EventBridge's maximum: a day, 185 attempts.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered[each.key].arn
  }

  depends_on = [aws_sqs_queue_policy.delivery]
}
