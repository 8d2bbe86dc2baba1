# Topic, queues, bus, pipe and schedule: what would lose or misdirect a message without anybody being told.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  application_url  = "https://appointments.example.org"
  internal_api_key = "0123456789abcdef0123456789abcdef"
  packages         = { directory = "tests/fixtures" }
  countries        = ["CL", "PE"]
  authentication = {
    issuer   = "https://issuer.example.org"
    audience = "appointments"
    keys     = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"
  }
}

run "requests" {
  assert {
    condition     = keys(module.country_worker) == ["CL", "PE"]
    error_message = "Each country has one worker."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : worker.subscription.filter_policy == jsonencode({ countryISO = [country] })
      && worker.subscription.filter_policy_scope == "MessageAttributes"
    ])
    error_message = "A country's queue takes its own country's messages and nothing else."
  }
  assert {
    condition     = alltrue([for worker in module.country_worker : worker.subscription.raw_message_delivery])
    error_message = "The worker reads the message as it was published, not inside SNS's envelope."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.subscription.topic_arn == module.appointments.topic.arn
      && worker.subscription.protocol == "sqs" && worker.subscription.endpoint == worker.queues.queue.arn
    ])
    error_message = "The country's queue subscribes to the topic."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : try(jsondecode(worker.subscription.redrive_policy).deadLetterTargetArn, "") == worker.queues.undelivered.arn
    ])
    error_message = "What SNS cannot deliver is kept."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for queue, policy in worker.queue_policies : [
          for statement in jsondecode(policy).Statement : statement.Principal == { Service = "sns.amazonaws.com" }
          && statement.Action == "sqs:SendMessage" && statement.Resource == worker.queues[queue].arn
          && statement.Condition == { ArnEquals = { "aws:SourceArn" = module.appointments.topic.arn } }
        ]
      ]
    ]))
    error_message = "The topic, and nobody else, may send to a country's queues."
  }
  assert {
    condition     = alltrue([for worker in module.country_worker : keys(worker.queue_policies) == ["queue", "undelivered"]])
    error_message = "Both queues to which SNS delivers let it."
  }
}

run "retries" {
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.queues.queue.visibility_timeout_seconds >= 6 * worker.functions.worker.timeout
    ])
    error_message = "A message stays hidden for at least six function time-outs (AWS Lambda, \"Using Lambda with Amazon SQS\")."
  }
  assert {
    condition = alltrue([
      for queues in concat(values(module.country_worker)[*].queues, [module.appointments.queues]) :
      (jsondecode(queues.queue.redrive_policy).maxReceiveCount - 1) * queues.queue.visibility_timeout_seconds > 30 * 60
    ])
    error_message = "An outage of 30 minutes sends nothing to a dead-letter queue."
  }
  assert {
    condition = alltrue([
      for queues in concat(values(module.country_worker)[*].queues, [module.appointments.queues]) :
      jsondecode(queues.queue.redrive_policy).deadLetterTargetArn == queues.dead_letter.arn
      && jsondecode(queues.queue.redrive_policy).maxReceiveCount == 5
    ])
    error_message = "After five receives a message goes to the dead-letter queue."
  }
  assert {
    condition = alltrue(flatten([
      for queues in concat(values(module.country_worker)[*].queues, [module.appointments.queues]) : [
        queues.dead_letter.message_retention_seconds == 14 * 24 * 60 * 60,
        queues.undelivered.message_retention_seconds == 14 * 24 * 60 * 60,
        queues.queue.message_retention_seconds < queues.dead_letter.message_retention_seconds,
      ]
    ]))
    error_message = "A dead letter is kept for 14 days, longer than it can have waited before: it keeps its age."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker :
      length(split(",", worker.functions.worker.environment[0].variables.RECEIVE_DELAYS_SECONDS)) == jsondecode(worker.queues.queue.redrive_policy).maxReceiveCount - 1
    ])
    error_message = "The worker knows the last receive."
  }
}

run "event_source_mapping" {
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.event_source_mapping.function_response_types == toset(["ReportBatchItemFailures"])
    ])
    error_message = "Without the partial-batch response one bad message repeats, and finally buries, the nine beside it."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.event_source_mapping.event_source_arn == worker.queues.queue.arn
      && worker.event_source_mapping.function_name == worker.functions.worker.arn
    ])
    error_message = "The worker consumes its country's queue."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.event_source_mapping.batch_size == 10
      && worker.event_source_mapping.maximum_batching_window_in_seconds == 0
    ])
    error_message = "Batches of ten, which is one PutEvents, without waiting for more."
  }
  assert {
    condition     = alltrue([for worker in module.country_worker : worker.event_source_mapping.scaling_config[0].maximum_concurrency == 20])
    error_message = "The number of batches at once, and so of database connections, is limited."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : worker.functions.worker.runtime == "provided.al2023"
      && worker.functions.worker.function_name == "appointment-${lower(country)}"
      && !can(worker.functions.worker.environment[0].variables.WORKER_MODE)
    ])
    error_message = "The worker is a native function of the country."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.migration.function_name == worker.functions.migration.function_name
      && worker.functions.migration.environment[0].variables.WORKER_MODE == "migrate"
      && worker.functions.migration.source_code_hash == worker.functions.worker.source_code_hash
      && worker.migration.triggers.package == worker.functions.worker.source_code_hash
    ])
    error_message = "The migrations run from the worker's own zip, and again with each new one."
  }
  # An order leaves no trace in a plan.
  assert {
    condition = strcontains(
      split("resource \"aws_lambda_event_source_mapping\"", file("${path.module}/modules/country-worker/main.tf"))[1],
      "depends_on = [aws_lambda_invocation.migration]"
    )
    error_message = "No request is taken from the queue before the migrations have run."
  }
}

run "outcomes" {
  assert {
    condition     = toset(jsondecode(module.appointments.rule.event_pattern).source) == toset(["appointments.worker.CL", "appointments.worker.PE"])
    error_message = "The rule takes the events of each country's worker."
  }
  assert {
    condition     = !strcontains(module.appointments.rule.event_pattern, local.backplane.confirmation.event_source)
    error_message = "The rule never matches what the confirmation component publishes: that would be a loop."
  }
  assert {
    condition = alltrue([
      for source in jsondecode(module.appointments.rule.event_pattern).source : can(regex("^[A-Za-z.]+$", source))
    ])
    error_message = "The rule names its sources exactly, without a prefix or wildcard that the component's own could match."
  }
  assert {
    condition = module.appointments.rule_target.arn == module.appointments.queues.queue.arn && (
      module.appointments.rule_target.dead_letter_config[0].arn == module.appointments.queues.undelivered.arn
    )
    error_message = "The rule delivers to the confirmation queue, and what it cannot deliver is kept."
  }
  assert {
    condition = module.appointments.rule_target.retry_policy[0].maximum_event_age_in_seconds == 86400 && (
      module.appointments.rule_target.retry_policy[0].maximum_retry_attempts == 185
    )
    error_message = "EventBridge tries for a day."
  }
  assert {
    condition = alltrue(flatten([
      for queue, policy in module.appointments.queue_policies : [
        for statement in jsondecode(policy).Statement : statement.Principal == { Service = "events.amazonaws.com" }
        && statement.Action == "sqs:SendMessage" && statement.Resource == module.appointments.queues[queue].arn
        && statement.Condition == { ArnEquals = { "aws:SourceArn" = module.appointments.rule.arn } }
      ]
    ])) && keys(module.appointments.queue_policies) == ["queue", "undelivered"]
    error_message = "The rule, and nobody else, may send to the confirmation queue and to the rule's dead-letter queue."
  }
  assert {
    condition     = module.appointments.archive.retention_days == 7 && module.appointments.archive.event_source_arn == module.appointments.bus.arn
    error_message = "The bus's events are kept for seven days."
  }
}

run "confirmation" {
  assert {
    condition = module.appointments.pipe.source == module.appointments.queues.queue.arn && (
      module.appointments.pipe.target == module.appointments.destinations.confirmations.arn
    )
    error_message = "The pipe goes from the confirmation queue to the confirmation component."
  }
  assert {
    condition     = module.appointments.pipe.source_parameters[0].sqs_queue_parameters[0].batch_size == 1
    error_message = "One message a request, so that one answer is about one message."
  }
  assert {
    condition     = module.appointments.pipe.target_parameters[0].input_template == "<$.body>"
    error_message = "The request's body is the message's body, unchanged."
  }
  assert {
    condition     = module.appointments.pipe.log_configuration[0].include_execution_data == null
    error_message = "The pipe's log holds no message."
  }
  assert {
    condition = module.appointments.destinations.confirmations.invocation_endpoint == "https://appointments.example.org/internal/confirmations" && (
      module.appointments.destinations.republish.invocation_endpoint == "https://appointments.example.org/internal/republish"
    )
    error_message = "The destinations are the application's internal routes."
  }
  assert {
    condition = module.appointments.destinations.confirmations.connection_arn == module.appointments.connection.arn && (
      module.appointments.destinations.republish.connection_arn == module.appointments.connection.arn
    ) && module.appointments.connection.header == "x-api-key"
    error_message = "Both send the internal API key."
  }
  assert {
    condition     = module.appointments.republish_rule.schedule_expression == "rate(1 minute)" && module.appointments.republish_rule.event_bus_name == null
    error_message = "The republisher is called every minute, from the default bus, the only one that has schedules."
  }
  assert {
    condition = { for country, target in module.appointments.republish_targets : country => target.input } == {
      CL = jsonencode({ countryISO = "CL" })
      PE = jsonencode({ countryISO = "PE" })
    }
    error_message = "Each country is a call of its own, with its own input."
  }
  assert {
    condition = alltrue([
      for target in module.appointments.republish_targets : target.retry_policy[0].maximum_retry_attempts == 0
      && target.arn == module.appointments.destinations.republish.arn
    ])
    error_message = "A call that failed is not repeated: the next minute brings the next one."
  }
}

run "table" {
  assert {
    condition     = module.appointments.table.hash_key == "insuredId" && module.appointments.table.range_key == "sk" && module.appointments.table.billing_mode == "PAY_PER_REQUEST"
    error_message = "The table is keyed by person and sort key, on demand."
  }
  assert {
    condition = alltrue([
      for index in module.appointments.table.global_secondary_index : index.name == "pending" && index.hash_key == "pendingShard"
      && index.range_key == "pendingSince" && index.projection_type == "INCLUDE" && index.non_key_attributes == toset(["status", "pendingAttempt"])
    ]) && length(module.appointments.table.global_secondary_index) == 1
    error_message = "The index holds what waits for an answer."
  }
  assert {
    condition     = module.appointments.table.ttl[0].enabled && module.appointments.table.ttl[0].attribute_name == "expiresAt"
    error_message = "Idempotency records expire."
  }
  assert {
    condition     = module.appointments.table.point_in_time_recovery[0].enabled && module.appointments.table.deletion_protection_enabled
    error_message = "The table can be recovered, and not be deleted by mistake."
  }
}
