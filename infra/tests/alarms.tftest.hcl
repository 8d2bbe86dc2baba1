# Alarms and log groups.

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

run "published" {
  # An alarm on a metric that nobody publishes stays silent. tests/published-metrics.json has the metrics that AWS documents, and where;
  # metric filters make those of our own namespace.
  assert {
    condition = alltrue(flatten([
      for alarm in module.observability.alarms : [
        for watched in alarm : watched.namespace == local.backplane.table.name
        ? contains(keys(module.observability.metric_filters), watched.metric) && length(watched.dimensions) == 0
        : try(
          contains(jsondecode(file("${path.module}/tests/published-metrics.json"))[watched.namespace].metrics, watched.metric)
          && contains([for names in jsondecode(file("${path.module}/tests/published-metrics.json"))[watched.namespace].dimensions : join(",", names)], join(",", keys(watched.dimensions))),
          false
        )
      ]
    ]))
    error_message = "Each alarm's metric is published with its dimensions."
  }
  assert {
    condition = length(setsubtract(
      flatten([for alarm in module.observability.alarms : [for watched in alarm : watched.dimensions["FunctionName"] if can(watched.dimensions["FunctionName"])]]),
      concat(
        [for function in module.application.functions : function.function_name],
        flatten([for worker in module.country_worker : [for function in worker.functions : function.function_name]]),
      )
    )) == 0
    error_message = "Alarms on functions name existing functions."
  }
  assert {
    condition = length(setsubtract(
      flatten([for alarm in module.observability.alarms : [for watched in alarm : watched.dimensions["QueueName"] if can(watched.dimensions["QueueName"])]]),
      flatten([for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) : [for queue in queues : queue.name]]),
    )) == 0
    error_message = "Alarms on queues name existing queues."
  }
  assert {
    condition = length(setsubtract(
      flatten([for alarm in module.observability.alarms : [for watched in alarm : watched.dimensions["DBInstanceIdentifier"] if can(watched.dimensions["DBInstanceIdentifier"])]]),
      [for worker in module.country_worker : worker.database.identifier],
    )) == 0
    error_message = "Alarms on databases name existing databases."
  }
  assert {
    condition = alltrue([
      for rule in concat(values(module.appointments.rules), values(module.application.republish_rules), [for worker in module.country_worker : worker.importer.rule]) : jsonencode(module.observability.alarms["${rule.name}-failedinvocations"]) == jsonencode([{
        namespace  = "AWS/Events"
        metric     = "FailedInvocations"
        dimensions = { for name, value in { EventBusName = rule.event_bus_name, RuleName = rule.name } : name => value if value != null }
      }])
    ])
    error_message = "Each rule has an alarm; for a rule on our own bus it names the bus."
  }
}

run "everything_is_watched" {
  assert {
    condition = alltrue([
      for queue in flatten([
        for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) : [queues.dead_letter.name, queues.undelivered.name]
      ]) : try(module.observability.alarms["${queue}-not-empty"][0].metric == "ApproximateNumberOfMessagesVisible", false)
    ])
    error_message = "Each dead-letter queue has an alarm."
  }
  assert {
    condition = alltrue([
      for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) :
      try(module.observability.alarms["${queues.queue.name}-age"][0].metric == "ApproximateAgeOfOldestMessage", false)
    ])
    error_message = "Each queue has an alarm on the age of its oldest message."
  }
  assert {
    condition = alltrue(flatten([
      for function in concat(values(module.application.functions), flatten([for worker in module.country_worker : values(worker.functions)])) : [
        for kind in ["errors", "throttles"] : contains(keys(module.observability.alarms), "${function.function_name}-${kind}")
      ]
    ]))
    error_message = "Each function has alarms on errors and throttles."
  }
  assert {
    condition = alltrue([
      for function in concat([module.application.functions["confirmation"]], [for worker in module.country_worker : worker.functions.importer]) :
      contains(keys(module.observability.alarms), "${function.function_name}-events-dropped")
    ])
    error_message = "A call of a schedule or a bucket that Lambda gives up raises an alarm."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for kind in ["cpu", "storage", "connections"] : contains(keys(module.observability.alarms), "${worker.database.identifier}-${kind}")
      ]
    ]))
    error_message = "Each database has alarms."
  }
  assert {
    condition = alltrue([
      for class in ["4xx", "5xx"] : toset(module.observability.alarms["appointments-${class}-rate"][*].metric) == toset([class, "Count"])
    ])
    error_message = "The shares of refused and of failed requests have alarms."
  }
  assert {
    condition     = alltrue([for group in module.observability.log_groups : group.retention_in_days == 365])
    error_message = "Each log group keeps its lines for a year."
  }
  assert {
    condition = alltrue(concat(
      flatten([
        for country, worker in module.country_worker : [
          for name, function in worker.functions : function.logging_config[0].log_group == module.observability.log_groups["${name}-${country}"].name
        ]
      ]),
      [for component, function in module.application.functions : function.logging_config[0].log_group == module.observability.log_groups[component].name],
    ))
    error_message = "Each function writes to its log group."
  }
}

run "error_lines" {
  assert {
    condition = alltrue([
      for function in concat(values(module.application.functions), flatten([for worker in module.country_worker : [worker.functions.worker, worker.functions.importer]])) : (
        contains(keys(module.observability.alarms), "${function.function_name}-other-error")
        && module.observability.metric_filters["${function.function_name}-other-error"].log_group_name == function.logging_config[0].log_group
        && startswith(module.observability.metric_filters["${function.function_name}-other-error"].pattern, "{ ($.level = \"ERROR\")")
      )
    ])
    error_message = "A line of level ERROR of each function raises an alarm."
  }
  assert {
    condition = alltrue(flatten([
      for component, messages in local.error_messages : [
        for reason, message in messages : contains(keys(module.observability.alarms), "${module.application.functions[component].function_name}-${reason}")
        && module.observability.metric_filters["${module.application.functions[component].function_name}-${reason}"].pattern == "{ ($.level = \"ERROR\") && ($.message = \"${message}\") }"
        && strcontains(module.observability.metric_filters["${module.application.functions[component].function_name}-other-error"].pattern, "($.message != \"${message}\")")
      ]
    ]))
    error_message = "Each of these lines has its own alarm with the reason in its name, and is not counted twice."
  }
  # A message that is reworded in the component would silence its alarm.
  assert {
    condition = alltrue(flatten([
      for component, messages in local.error_messages : [
        for message in values(messages) : anytrue([
          for source in fileset("${path.module}/../components/${component}/src", "**/*.rs") :
          strcontains(file("${path.module}/../components/${component}/src/${source}"), "\"${message}\"")
        ])
      ]
    ]))
    error_message = "Each message is in the component's sources, word for word."
  }
}

run "age_of_the_oldest_due_command" {
  assert {
    condition = alltrue([
      for filter in [module.observability.metric_filters["appointment-update-oldest-due"]] : filter.pattern == "{ $.${local.oldest_due.field} = * }"
      && filter.log_group_name == module.application.functions["confirmation"].logging_config[0].log_group
      && filter.metric_transformation[0].value == "$.${local.oldest_due.field}"
    ]) && contains(keys(module.observability.alarms), "appointment-update-oldest-due")
    error_message = "How long the oldest command has been due is read from the republisher's line, and watched."
  }
  assert {
    condition     = strcontains(file("${path.module}/../components/confirmation/src/republish.rs"), "\"${local.oldest_due.field}\"")
    error_message = "The republisher writes the field."
  }
}

# docs/cost.md prices them; xtask/src/cost.rs holds the numbers.
run "as_many_as_are_priced" {
  assert {
    condition = (
      strcontains(file("${path.module}/../xtask/src/cost.rs"), "\"${length(module.observability.alarms)} alarms of")
      && strcontains(file("${path.module}/../xtask/src/cost.rs"), "const ALARM_METRICS: f64 = ${length(flatten(values(module.observability.alarms)))}.0;")
    )
    error_message = "There are ${length(module.observability.alarms)} alarms on ${length(flatten(values(module.observability.alarms)))} metrics: put that into xtask/src/cost.rs."
  }
}
