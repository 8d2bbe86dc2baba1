# The public API: what it calls, whom it lets in, and its name.

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

run "routes" {
  assert {
    condition = toset(keys(module.api_gateway.routes)) == toset([
      "ANY /appointments", "ANY /appointments/{insuredId}", "ANY /appointments/{insuredId}/{appointmentId}",
      "ANY /appointments/{insuredId}/{appointmentId}/move",
      "ANY /appointment", "ANY /appointment/{insuredId}", "ANY /appointment/{insuredId}/{appointmentId}",
      "ANY /appointment/{insuredId}/{appointmentId}/move",
      "ANY /slots", "ANY /slots/{countryISO}/{scheduleId}", "ANY /catalog/{countryISO}",
      "ANY /health", "ANY /openapi.yaml", "$default",
      "ANY /", "ANY /config.json", "ANY /assets/{version}/{file}",
    ])
    error_message = "The routes are the contract's. Every other path goes to the application too, which responds with 404."
  }
  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
  assert {
    condition = alltrue([
      for name, route in module.api_gateway.routes : route.integration.integration_type == "AWS_PROXY" && route.integration.payload_format_version == "2.0"
      && route.integration.integration_uri == module.application.aliases[contains(["ANY /", "ANY /config.json", "ANY /assets/{version}/{file}"], name) ? "booking_page" : "intake"].invoke_arn
    ])
    error_message = "The routes of the page call the function that serves it, and each other one the function that serves the API, at their aliases."
  }
  assert {
    condition = alltrue([
      for called, component in { function = "intake", page = "booking_page" } : alltrue([
        for permission in [module.api_gateway.permissions[called]] : permission.principal == "apigateway.amazonaws.com" && permission.action == "lambda:InvokeFunction"
        && permission.function_name == module.application.functions[component].function_name && permission.qualifier == module.application.aliases[component].name
        && permission.source_arn == "${module.api_gateway.execution_arn}/*/*"
      ])
    ])
    error_message = "This API, and no other, may call the aliases."
  }
  assert {
    condition     = alltrue([for route in module.api_gateway.routes : route.integration.timeout_milliseconds > 10000 + 4000])
    error_message = "The gateway waits longer than a client may ask the application to wait (Prefer: wait=10)."
  }
  # Else the gateway responds to preflights itself: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
  assert {
    condition     = length(coalesce(module.api_gateway.cors_configuration, [])) == 0 && alltrue([for route in keys(module.api_gateway.routes) : startswith(route, "ANY ") || route == "$default"])
    error_message = "A preflight reaches the application, on each path."
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
    condition     = !module.api_gateway.stage.throttling.detailed_metrics_enabled && !anytrue([for setting in module.api_gateway.stage.route_throttling : setting.detailed_metrics_enabled])
    error_message = "Metrics of each route, for which CloudWatch charges, are off by default."
  }
  assert {
    condition = {
      for setting in module.api_gateway.stage.route_throttling : setting.route_key => [setting.throttling_rate_limit, setting.throttling_burst_limit]
      } == {
      "ANY /appointments" = [50, 100], "ANY /appointment" = [50, 100],
      "ANY /health"       = [20, 40], "ANY /openapi.yaml" = [20, 40], "$default" = [20, 40],
    }
    error_message = "Bookings, and routes without a token, have lower limits than reading."
  }
  assert {
    condition = strcontains(module.api_gateway.stage.access_log_format, "$context.routeKey") && !anytrue([
      for field in ["$context.path", "$context.identity", "$context.authorizer", "$context.domainName"] : strcontains(module.api_gateway.stage.access_log_format, field)
    ])
    error_message = "The access log holds the route, never the path, which holds a person's code, nor who called."
  }
}

run "application_elsewhere" {
  variables {
    application_url  = "https://appointments.example.org"
    edge_access_keys = ["first"]
  }

  assert {
    condition = alltrue([
      for route, target in module.api_gateway.routes : target.integration.integration_type == "HTTP_PROXY"
      && trimprefix(target.integration.integration_uri, "https://appointments.example.org") == (route == "$default" ? "" : split(" ", route)[1])
    ]) && length(module.api_gateway.routes) == 17
    error_message = "Each route calls the same path of the application elsewhere."
  }
  assert {
    condition     = length(module.api_gateway.permissions) == 0
    error_message = "The gateway may not call functions that it does not call."
  }
  assert {
    condition = (
      output.edge_environment.appointments_table == module.application.functions["intake"].environment[0].variables.SPIN_VARIABLE_APPOINTMENTS_TABLE
      && output.edge_environment.appointments_topic_arn == module.application.functions["intake"].environment[0].variables.SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN
    )
    error_message = "The application elsewhere shares table and topic with the function."
  }
}

run "authorizer" {
  variables {
    api = { jwt = { issuer = "https://issuer.example.org", audience = ["appointments"], algorithm = "RS256" } }
  }

  assert {
    condition = toset([for route, target in module.api_gateway.routes : route if target.authorization == "NONE" && startswith(route, "ANY ")]) == toset([
      "ANY /slots", "ANY /slots/{countryISO}/{scheduleId}", "ANY /catalog/{countryISO}", "ANY /health", "ANY /openapi.yaml",
      "ANY /", "ANY /config.json", "ANY /assets/{version}/{file}"
    ])
    error_message = "What is free, health, the API's description and the page ask for no token, and everything else does."
  }
  assert {
    condition = alltrue([
      for route, target in module.api_gateway.routes : target.authorization == "JWT" if startswith(route, "ANY /appointment")
    ])
    error_message = "Each other route asks for a token."
  }
  # "Use the ANY method to match all methods that you haven't defined for a resource":
  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
  assert {
    condition = alltrue([
      for route in keys(module.api_gateway.routes) : module.api_gateway.routes["OPTIONS ${split(" ", route)[1]}"].authorization == "NONE" if route != "$default" && !contains(local.backplane.booking_page.paths, trimprefix(route, "ANY "))
    ])
    error_message = "A preflight, which has no token, still reaches the application."
  }
}

run "throttling_of_a_route" {
  variables {
    api = { route_throttling = { "/appointments" = { rate_per_second = 50, burst = 100 } }, detailed_metrics = true }
  }

  assert {
    condition = [for setting in module.api_gateway.stage.route_throttling : [setting.route_key, setting.throttling_rate_limit, setting.throttling_burst_limit, setting.detailed_metrics_enabled]] == [
      ["ANY /appointments", 50, 100, true]
    ]
    error_message = "A route can have its own limits."
  }
  assert {
    condition     = module.api_gateway.stage.throttling.throttling_rate_limit == 200 && module.api_gateway.stage.throttling.detailed_metrics_enabled
    error_message = "The other routes keep theirs."
  }
}

run "own_name_in_a_hosted_zone" {
  variables {
    api = { domain = { name = "citas.example.org", zone_id = "Z0123456789" } }
  }

  assert {
    condition     = output.api_endpoint == "https://citas.example.org" && module.api_gateway.domain.name == "citas.example.org"
    error_message = "The API has its own name."
  }
  assert {
    condition = alltrue([
      for record in module.api_gateway.domain.records : record.alias[0].name == output.api_domain_target.name && record.alias[0].zone_id == output.api_domain_target.hosted_zone_id
      if length(record.alias) > 0
    ]) && length(module.api_gateway.domain.records) == 2
    error_message = "The name leads to the gateway, and a second record proves to ACM whose it is."
  }
}

run "own_name_with_a_certificate" {
  variables {
    api = { domain = { name = "citas.example.org", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1" } }
  }

  assert {
    condition     = module.api_gateway.domain.certificate_arn == "arn:aws:acm:us-east-1:123456789012:certificate/1" && length(module.api_gateway.domain.records) == 0
    error_message = "A given certificate is used, and no record is made."
  }
  assert {
    condition     = output.api_domain_target.name != null
    error_message = "The output says where the name has to lead."
  }
}

run "no_name_of_its_own" {
  assert {
    condition     = output.api_domain_target == null && output.api_endpoint != null && module.api_gateway.domain.name == null
    error_message = "Without a name the API has its execute-api address."
  }
}
