# Topic, queues, bus, functions and schedule: faults that would lose or misdirect a message silently.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  packages  = { directory = "tests/fixtures" }
  countries = ["CL", "PE"]
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
    error_message = "Messages that SNS cannot deliver are kept."
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
      for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) :
      (jsondecode(queues.queue.redrive_policy).maxReceiveCount - 1) * queues.queue.visibility_timeout_seconds > 30 * 60
    ])
    error_message = "An outage of 30 minutes sends nothing to a dead-letter queue."
  }
  assert {
    condition = alltrue([
      for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) :
      jsondecode(queues.queue.redrive_policy).deadLetterTargetArn == queues.dead_letter.arn
      && jsondecode(queues.queue.redrive_policy).maxReceiveCount == 8
    ])
    error_message = "After eight receives a message goes to the dead-letter queue."
  }
  assert {
    condition = alltrue(flatten([
      for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) : [
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
      && worker.event_source_mapping.function_name == worker.alias.arn
    ])
    error_message = "The worker's alias consumes its country's queue."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.event_source_mapping.batch_size == 10
      && worker.event_source_mapping.maximum_batching_window_in_seconds == 0
    ])
    error_message = "Batches of ten, which is one PutEvents, without waiting for more."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.event_source_mapping.scaling_config[0].maximum_concurrency == 20
      && worker.functions.worker.reserved_concurrent_executions == 25 && worker.event_source_mapping.enabled
    ])
    error_message = "The number of batches at once, and so of database connections, is limited, and Lambda keeps room for all of them."
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
}

# A version that is published keeps code and environment; the alias names the one that serves.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html
run "a_worker_never_runs_before_its_migration" {
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.functions.worker.publish && worker.functions.migration.publish
      && worker.alias.function_version == worker.functions.worker.version && worker.migration.qualifier == worker.functions.migration.version
    ])
    error_message = "Each deployment is a version; the migrations are those of the version that is to serve."
  }
  # An order leaves no trace in a plan. A migration that fails ends the apply before the alias moves: "Lambda function returned error".
  assert {
    condition = strcontains(
      split("resource \"aws_lambda_alias\" \"worker\"", file("${path.module}/modules/country-worker/function.tf"))[1],
      "depends_on = [aws_lambda_invocation.migration]"
    )
    error_message = "The alias moves when the migrations are done, and not before."
  }
  assert {
    condition = strcontains(
      split("resource \"aws_lambda_alias\" \"this\"", file("${path.module}/modules/application/main.tf"))[1],
      "depends_on = [var.serve_after]"
    ) && strcontains(file("${path.module}/main.tf"), "serve_after = [for worker in module.country_worker : [worker.alias.function_version, worker.subscription.arn]]")
    error_message = "The application's new versions serve after the workers', which read what they write."
  }
}

# The mock gives every rule one ARN.
override_resource {
  target = module.appointments.aws_cloudwatch_event_rule.this["slots"]
  values = { arn = "arn:aws:events:us-east-1:123456789012:rule/appointments/slots-changed" }
}

run "outcomes" {
  assert {
    condition     = toset(jsondecode(module.appointments.rules["outcomes"].event_pattern).source) == toset(["appointments.worker.CL", "appointments.worker.PE"])
    error_message = "The rule takes the events of each country's worker."
  }
  assert {
    condition = { for key, rule in module.appointments.rules : key => [rule.name, jsondecode(rule.event_pattern)["detail-type"]] } == {
      outcomes = ["country-outcomes", ["AppointmentCompleted", "AppointmentRejected", "AppointmentCancelled", "AppointmentFailed"]]
      slots    = ["slots-changed", ["SlotsChanged", "CatalogueChanged"]]
    }
    error_message = "Outcomes have one queue, and slots that changed without a command another: an import never delays an outcome."
  }
  assert {
    condition = alltrue([
      for rule in module.appointments.rules : !strcontains(rule.event_pattern, local.backplane.confirmation.event_source)
      && jsondecode(rule.event_pattern).source == jsondecode(module.appointments.rules["outcomes"].event_pattern).source
    ])
    error_message = "No rule ever matches what the confirmation component publishes: that would be a loop."
  }
  assert {
    condition = alltrue(flatten([
      for rule in module.appointments.rules : [for source in jsondecode(rule.event_pattern).source : can(regex("^[A-Za-z.]+$", source))]
    ]))
    error_message = "A rule names its sources exactly, without a prefix or wildcard that the component's own could match."
  }
  assert {
    condition = alltrue([
      for key, target in module.appointments.rule_targets : target.arn == module.appointments.queues[key].queue.arn
      && target.dead_letter_config[0].arn == module.appointments.queues[key].undelivered.arn && target.rule == module.appointments.rules[key].name
    ]) && keys(module.appointments.rule_targets) == ["outcomes", "slots"]
    error_message = "Each rule delivers to its queue; events that it cannot deliver are kept."
  }
  assert {
    condition = alltrue([
      for target in module.appointments.rule_targets : target.retry_policy[0].maximum_event_age_in_seconds == 86400 && target.retry_policy[0].maximum_retry_attempts == 185
    ])
    error_message = "EventBridge tries for a day."
  }
  assert {
    condition = alltrue(flatten([
      for key, policies in module.appointments.queue_policies : [
        for queue, policy in policies : [
          for statement in jsondecode(policy).Statement : statement.Principal == { Service = "events.amazonaws.com" }
          && statement.Action == "sqs:SendMessage" && statement.Resource == module.appointments.queues[key][queue].arn
          && statement.Condition == { ArnEquals = { "aws:SourceArn" = module.appointments.rules[key].arn } }
        ]
      ]
    ])) && module.appointments.rules["outcomes"].arn != module.appointments.rules["slots"].arn
    error_message = "A rule, and nobody else, may send to its queue and to its dead-letter queue."
  }
  assert {
    condition     = module.appointments.archive.retention_days == 7 && module.appointments.archive.event_source_arn == module.appointments.bus.arn
    error_message = "The bus's events are kept for seven days."
  }
}

run "confirmation" {
  assert {
    condition = alltrue([
      for key, mapping in module.application.event_source_mappings : mapping.event_source_arn == module.appointments.queues[key].queue.arn
      && mapping.function_name == module.application.aliases["confirmation"].arn && mapping.enabled
    ]) && keys(module.application.event_source_mappings) == ["outcomes", "slots"]
    error_message = "Both queues are consumed by the function's alias."
  }
  assert {
    condition     = alltrue([for mapping in module.application.event_source_mappings : mapping.function_response_types == toset(["ReportBatchItemFailures"])])
    error_message = "Without the partial-batch response one bad message repeats, and finally buries, the nine beside it."
  }
  assert {
    condition     = alltrue([for mapping in module.application.event_source_mappings : mapping.batch_size == 10 && mapping.maximum_batching_window_in_seconds == 0])
    error_message = "Batches of ten, without waiting for more."
  }
  # The schedule calls the same function: one call for each country must fit beside the batches.
  assert {
    condition = (
      { for key, mapping in module.application.event_source_mappings : key => mapping.scaling_config[0].maximum_concurrency } == { outcomes = 10, slots = 4 }
      && sum([for mapping in module.application.event_source_mappings : mapping.scaling_config[0].maximum_concurrency]) + 2 <= module.application.functions["confirmation"].reserved_concurrent_executions
    )
    error_message = "Lambda keeps room for all batches of outcomes, for fewer of slots, and for the schedule."
  }
  assert {
    condition     = module.appointments.queues["outcomes"].queue.visibility_timeout_seconds >= 6 * module.application.functions["confirmation"].timeout
    error_message = "A message stays hidden for at least six function time-outs (AWS Lambda, \"Using Lambda with Amazon SQS\")."
  }
  assert {
    condition = {
      for component, function in module.application.functions : component => [function.function_name, function.runtime, function.timeout, function.publish]
      } == {
      intake       = ["appointment", "provided.al2023", local.durations.intake_timeout, true]
      booking_page = ["appointment-page", "provided.al2023", local.durations.booking_page_timeout, true]
      confirmation = ["appointment-update", "provided.al2023", local.durations.confirmation_timeout, true]
    }
    error_message = "There are three native functions, each deployment a version."
  }
  assert {
    condition = length(distinct(values(module.application.functions)[*].source_code_hash)) == 1 && alltrue([
      for component, alias in module.application.aliases : alias.function_version == module.application.functions[component].version && alias.name == local.backplane.function_alias
    ])
    error_message = "They are one zip, and are called by an alias that names the version."
  }
}

run "importer" {
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : worker.functions.importer.function_name == "appointment-${lower(country)}-import"
      && worker.functions.importer.timeout == 900 && worker.functions.importer.source_code_hash == worker.functions.worker.source_code_hash
      && worker.functions.importer.environment[0].variables.WORKER_MODE == "import"
      && worker.functions.importer.environment[0].variables.EVENT_BUS_NAME == module.appointments.bus.name
    ])
    error_message = "A country's importer is its worker's zip in another mode."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.importer.alias.function_version == worker.functions.importer.version && worker.functions.importer.publish
      && worker.importer.alias.name == local.backplane.function_alias
      ]) && strcontains(
      split("resource \"aws_lambda_alias\" \"importer\"", file("${path.module}/modules/country-worker/function.tf"))[1],
      "depends_on = [aws_lambda_invocation.migration]"
    )
    error_message = "It serves by its alias, which moves when the migrations are done."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : [
        for call in worker.importer.notification.lambda_function : [call.lambda_function_arn, jsonencode(call.events), call.filter_prefix]
      ] == [[worker.importer.alias.arn, jsonencode(["s3:ObjectCreated:*"]), "slots/"]]
    ])
    error_message = "A file under slots/, and no report, calls the importer."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : [worker.importer.rule.name, worker.importer.rule.schedule_expression, worker.importer.rule.state] == ["drain-slots-${lower(country)}", "rate(1 minute)", "ENABLED"]
      && worker.importer.rule.event_bus_name == null && worker.importer.rule_target.arn == worker.importer.alias.arn && worker.importer.rule_target.rule == worker.importer.rule.name
    ])
    error_message = "Each minute the events in a country's outbox are announced."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : alltrue([
        for caller, permission in worker.importer.permissions : permission.action == "lambda:InvokeFunction" && permission.qualifier == worker.importer.alias.name
        && permission.function_name == worker.functions.importer.function_name && permission.source_account == "123456789012"
        && permission.principal == { bucket = "s3.amazonaws.com", rule = "events.amazonaws.com" }[caller]
        && permission.source_arn == { bucket = worker.slots_bucket.arn, rule = worker.importer.rule.arn }[caller]
      ])
    ])
    error_message = "The country's bucket and rule, and nobody else, may call the alias."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.importer.repetition.maximum_retry_attempts == 2 && worker.importer.repetition.maximum_event_age_in_seconds == 21600
      && worker.importer.repetition.qualifier == worker.importer.alias.name
    ])
    error_message = "An import that was interrupted is called again."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : worker.functions.migration.environment[0].variables.CATALOGUE == "own"
      && worker.functions.migration.environment[0].variables.MAX_OPEN_BOOKINGS == "20"
      && jsondecode(worker.migration.triggers.catalogue) == { kind = "own", max_open_bookings = 20 }
    ])
    error_message = "The migration writes the country's rules into its database, again when they change."
  }
}

run "bucket" {
  assert {
    condition = { for country, worker in module.country_worker : country => worker.slots_bucket.name } == {
      CL = "appointments-slots-cl-123456789012"
      PE = "appointments-slots-pe-123456789012"
    }
    error_message = "Each country has a bucket, whose name is this account's."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : alltrue([
        for switch in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"] : worker.slots_bucket.public_access[switch]
      ]) && worker.slots_bucket.ownership[0].object_ownership == "BucketOwnerEnforced"
    ])
    error_message = "Nothing in it is public."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : [
        for statement in jsondecode(worker.slots_bucket.policy).Statement : [statement.Effect, statement.Principal, statement.Condition.Bool["aws:SecureTransport"]]
      ] == [["Deny", "*", "false"]]
    ])
    error_message = "Nobody reads or writes it without TLS."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.slots_bucket.versioning == "Enabled" && length(worker.slots_bucket.lifecycle) == 1 && alltrue([
        for rule in worker.slots_bucket.lifecycle : rule.status == "Enabled" && rule.expiration[0].days == 90 && rule.noncurrent_version_expiration[0].noncurrent_days == 90
      ])
    ])
    error_message = "Files that name practitioners are kept for 90 days."
  }
}

run "schedule" {
  assert {
    condition = jsonencode({ for country, rule in module.application.republish_rules : country => [rule.name, rule.schedule_expression, rule.state, rule.event_bus_name] }) == jsonencode({
      CL = ["republish-cl", "rate(1 minute)", "ENABLED", null]
      PE = ["republish-pe", "rate(1 minute)", "ENABLED", null]
    })
    error_message = "Each country has a rule, every minute, on the default bus, the only one that has schedules."
  }
  assert {
    condition = { for country, target in module.application.republish_targets : country => [target.input, target.arn, target.rule] } == {
      for country in ["CL", "PE"] : country => [jsonencode({ countryISO = country }), module.application.aliases["confirmation"].arn, "republish-${lower(country)}"]
    }
    error_message = "Each country has its own call to the function's alias, with its own input."
  }
  assert {
    condition = alltrue([
      for country, permission in module.application.republish_permissions : permission.principal == "events.amazonaws.com"
      && permission.qualifier == module.application.aliases["confirmation"].name && permission.source_arn == module.application.republish_rules[country].arn
      && permission.source_account == "123456789012"
    ]) && length(module.application.republish_permissions) == 2
    error_message = "The rule, and nobody else, may call the alias."
  }
  # "By default, Lambda retries the function two more times": https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
  assert {
    condition = alltrue([
      for repetition in [module.application.republish_repetition] : repetition.maximum_retry_attempts == 0 && repetition.maximum_event_age_in_seconds == 60
      && repetition.qualifier == module.application.aliases["confirmation"].name
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
    error_message = "The index holds undecided commands."
  }
  assert {
    condition     = module.appointments.table.ttl[0].enabled && module.appointments.table.ttl[0].attribute_name == "expiresAt"
    error_message = "Idempotency records expire."
  }
  assert {
    condition     = module.appointments.table.point_in_time_recovery[0].enabled && module.appointments.table.deletion_protection_enabled
    error_message = "The table can be recovered, and not be deleted by mistake."
  }
  assert {
    condition     = module.appointments.slots_table.name == "slots" && module.appointments.slots_table.hash_key == "slotKey" && module.appointments.slots_table.range_key == null && module.appointments.slots_table.billing_mode == "PAY_PER_REQUEST"
    error_message = "A slot is an item, on demand."
  }
  assert {
    condition = { for index in module.appointments.slots_table.global_secondary_index : index.name => [index.hash_key, index.range_key, index.projection_type] } == {
      free-by-specialty    = ["freeSpecialty", "startsKey", "ALL"]
      free-by-center       = ["freeCenter", "startsKey", "ALL"]
      free-by-practitioner = ["freePractitioner", "startsKey", "ALL"]
    }
    error_message = "Free slots are found in order of time, and read from the index alone."
  }
  assert {
    condition     = module.appointments.slots_table.ttl[0].enabled && module.appointments.slots_table.ttl[0].attribute_name == "expiresAt" && module.appointments.slots_table.deletion_protection_enabled
    error_message = "Slots of the past expire."
  }
}
