# The public API, and what watches over everything.

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

run "routes" {
  assert {
    condition = { for route, target in module.api_gateway.routes : route => target.uri } == {
      "ANY /appointments"                             = "https://appointments.example.org/appointments"
      "ANY /appointments/{insuredId}"                 = "https://appointments.example.org/appointments/{insuredId}"
      "ANY /appointments/{insuredId}/{appointmentId}" = "https://appointments.example.org/appointments/{insuredId}/{appointmentId}"
      "ANY /appointment"                              = "https://appointments.example.org/appointment"
      "ANY /appointment/{insuredId}"                  = "https://appointments.example.org/appointment/{insuredId}"
      "ANY /appointment/{insuredId}/{appointmentId}"  = "https://appointments.example.org/appointment/{insuredId}/{appointmentId}"
      "ANY /health"                                   = "https://appointments.example.org/health"
      "ANY /openapi.yaml"                             = "https://appointments.example.org/openapi.yaml"
    }
    error_message = "The routes are the contract's, each to the same path of the application; there is no default and no greedy route."
  }
  assert {
    condition     = !anytrue([for route, target in module.api_gateway.routes : strcontains(route, "internal") || strcontains(target.uri, "internal")])
    error_message = "The internal routes are not reachable through the gateway."
  }
  assert {
    condition     = alltrue([for route in module.api_gateway.routes : route.authorization == "NONE"])
    error_message = "The gateway's authorizer is off by default."
  }
  assert {
    condition     = module.api_gateway.stage.throttling.throttling_rate_limit == 200 && module.api_gateway.stage.throttling.throttling_burst_limit == 400
    error_message = "Requests are throttled."
  }
  assert {
    condition = strcontains(module.api_gateway.stage.access_log_format, "$context.routeKey") && !anytrue([
      for field in ["$context.path", "$context.identity", "$context.authorizer", "$context.domainName"] : strcontains(module.api_gateway.stage.access_log_format, field)
    ])
    error_message = "The access log holds the route, never the path, which holds a person's code, nor who called."
  }
}

run "authorizer" {
  variables {
    api = { jwt = { issuer = "https://issuer.example.org", audience = ["appointments"], algorithm = "RS256" } }
  }

  assert {
    condition     = [for route, target in module.api_gateway.routes : route if target.authorization == "NONE"] == ["ANY /health", "ANY /openapi.yaml"]
    error_message = "Health and the API's description ask for no token, and nothing else does."
  }
  assert {
    condition     = alltrue([for route, target in module.api_gateway.routes : target.authorization == "JWT" if !contains(["ANY /health", "ANY /openapi.yaml"], route)])
    error_message = "Each other route asks for a token."
  }
}

run "alarms" {
  assert {
    condition = alltrue([
      for queue in flatten([
        for queues in concat(values(module.country_worker)[*].queues, [module.appointments.queues]) : [queues.dead_letter.name, queues.undelivered.name]
      ]) : try(module.observability.alarms["${queue}-not-empty"] == "AWS/SQS ApproximateNumberOfMessagesVisible", false)
    ])
    error_message = "Each dead-letter queue has an alarm."
  }
  assert {
    condition = alltrue([
      for queues in concat(values(module.country_worker)[*].queues, [module.appointments.queues]) :
      try(module.observability.alarms["${queues.queue.name}-age"] == "AWS/SQS ApproximateAgeOfOldestMessage", false)
    ])
    error_message = "Each queue has an alarm on the age of its oldest message."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for function in worker.functions : [
          for kind in ["errors", "throttles"] : contains(keys(module.observability.alarms), "${function.function_name}-${kind}")
        ]
      ]
    ]))
    error_message = "Each function has alarms on errors and throttles."
  }
  assert {
    condition = alltrue([
      for kind in ["stopped", "executionfailed", "executionthrottled", "executiontimeout"] : contains(keys(module.observability.alarms), "${module.appointments.pipe.name}-${kind}")
    ])
    error_message = "The pipe has alarms on failures, and on standing still."
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
    condition     = alltrue([for group in module.observability.log_groups : group.retention_in_days == 365])
    error_message = "Each log group forgets after a year."
  }
  assert {
    condition = alltrue(flatten([
      for country, worker in module.country_worker : [
        for name, function in worker.functions : function.logging_config[0].log_group == module.observability.log_groups["${name}-${country}"].name
      ]
    ]))
    error_message = "Each function writes to its log group."
  }
}
