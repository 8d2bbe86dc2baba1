# The outputs and the functions' environment: variables of spin.toml, by their names.

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

run "names" {
  command = plan

  variables {
    audit_key      = "0123456789abcdef0123456789abcdef"
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", jwks_url = "https://issuer.example.org/.well-known/jwks.json" }
  }

  assert {
    condition = length(setsubtract(
      nonsensitive(flatten([for variables in local.variables : keys(variables)])),
      flatten(regexall("(?m)^(\\w+) = \\{ ?(?:default|required)", split("[[trigger", split("[variables]", file("${path.module}/../spin.toml"))[1])[0])),
    )) == 0
    error_message = "Each name is a variable of the application."
  }
  assert {
    condition = alltrue([
      for example in ["minimal", "production"] :
      { for name in flatten(regexall("(?m)^output \"(\\w+)\"", file("${path.module}/outputs.tf"))) : name => "module.backplane.${name}" } ==
      { for output in regexall("(?ms)^output \"(\\w+)\".*?value += (\\S+)", file("${path.module}/examples/${example}/outputs.tf")) : output[0] => output[1] }
    ])
    error_message = "The examples pass each output on, by the same name."
  }
  assert {
    condition = alltrue([
      for example in ["minimal", "production"] : can(regex("(?ms)^variable \"authentication\" \\{.*?^  type +=  ?any", file("${path.module}/examples/${example}/variables.tf")))
    ])
    error_message = "The examples pass on all that authentication may hold, such as the client of the page."
  }
  assert {
    condition = alltrue([
      for function in keys(var.functions) : can(regex("(?m)^    ${function} += \\{ reserved_concurrency = -1\\b", file("${path.module}/examples/minimal/main.tf")))
    ])
    error_message = "The minimal example reserves no concurrency for any function: a new account may have none to reserve."
  }
}

run "required_at_the_edge" {
  variables {
    edge_access_keys = ["first"]
  }

  assert {
    condition = length(setsubtract(
      [
        for name in flatten(regexall("(?m)^(\\w+) = \\{[^}]*required = true", split("[[trigger", split("[variables]", file("${path.module}/../spin.toml"))[1])[0])) : name
        if !startswith(name, "confirmation_")
      ],
      keys(output.edge_environment),
    )) == 0
    error_message = "The environment of an edge deployment has each variable that intake requires."
  }
  assert {
    condition     = length(regexall("(?m)^\\w+ = \\{[^}]*required = true", file("${path.module}/../spin.toml"))) >= 3
    error_message = "The required variables are found in spin.toml."
  }
  assert {
    condition = nonsensitive({ for name, value in output.edge_environment : name => value if !endswith(name, "_key") && !endswith(name, "_key_id") }) == {
      aws_region               = "us-east-1"
      dynamodb_endpoint        = "https://dynamodb.us-east-1.amazonaws.com"
      sns_endpoint             = "https://sns.us-east-1.amazonaws.com"
      appointments_table       = "appointments"
      slots_table              = "slots"
      appointments_topic_arn   = "arn:aws:sns:us-east-1:123456789012:appointment-commands"
      authentication           = "jwt"
      jwt_issuer               = "https://issuer.example.org"
      jwt_audience             = "appointments"
      jwt_keys                 = jsonencode(jsondecode(var.authentication.keys))
      jwt_type                 = ""
      jwt_max_lifetime_seconds = "86400"
      jwt_insured_id_claim     = "sub"
      jwt_staff_claim          = "scope"
      jwt_staff_value          = "appointments:staff"
      cors_allowed_origins     = ""
    }
    error_message = "It leads to this backplane, always checks tokens, and each value is on its own line."
  }
  assert {
    condition     = issensitive(output.edge_environment)
    error_message = "It is marked sensitive, since it holds an access key."
  }
}

run "a_collector_of_traces" {
  command = plan

  variables {
    otel_exporter_otlp_endpoint = "https://otlp.example.org"
    otel_exporter_otlp_headers  = "authorization=Bearer%20token,x-tenant=1"
  }

  assert {
    condition = alltrue([
      for component in ["intake", "booking_page", "confirmation"] : nonsensitive({
        for name, value in module.application.functions[component].environment[0].variables : name => value if startswith(name, "OTEL_")
      }) == { OTEL_EXPORTER_OTLP_ENDPOINT = "https://otlp.example.org", OTEL_EXPORTER_OTLP_HEADERS = "authorization=Bearer%20token,x-tenant=1" }
    ])
    error_message = "The functions of the application send spans to the collector, and say who they are."
  }
}

run "environment_of_the_functions" {
  variables {
    cors_allowed_origins = ["https://citas.example.org", "https://staff.example.org"]
    authentication = {
      issuer   = "https://issuer.example.org"
      audience = "appointments"
      jwks_url = "https://issuer.example.org/.well-known/jwks.json"
      page     = { client_id = "booking-page", token_origin = "https://login.example.org", audience = "https://citas.example.org" }
    }
  }

  assert {
    condition = {
      for component, function in module.application.functions : component => {
        for name, value in function.environment[0].variables : name => value if !contains(["TYPE", "MAX_LIFETIME_SECONDS", "INSURED_ID_CLAIM", "STAFF_CLAIM", "STAFF_VALUE"], trimprefix(name, "SPIN_VARIABLE_JWT_"))
      }
      } == {
      intake = {
        SPIN_COMPONENT                       = "intake"
        SPIN_VARIABLE_AWS_REGION             = "us-east-1"
        SPIN_VARIABLE_DYNAMODB_ENDPOINT      = "https://dynamodb.us-east-1.amazonaws.com"
        SPIN_VARIABLE_SNS_ENDPOINT           = "https://sns.us-east-1.amazonaws.com"
        SPIN_VARIABLE_APPOINTMENTS_TABLE     = "appointments"
        SPIN_VARIABLE_SLOTS_TABLE            = "slots"
        SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN = "arn:aws:sns:us-east-1:123456789012:appointment-commands"
        SPIN_VARIABLE_AUTHENTICATION         = "jwt"
        SPIN_VARIABLE_JWT_ISSUER             = "https://issuer.example.org"
        SPIN_VARIABLE_JWT_AUDIENCE           = "appointments"
        SPIN_VARIABLE_JWT_JWKS_ORIGIN        = "https://issuer.example.org"
        SPIN_VARIABLE_JWT_JWKS_PATH          = "/.well-known/jwks.json"
        SPIN_VARIABLE_CORS_ALLOWED_ORIGINS   = "https://citas.example.org,https://staff.example.org"
        SPIN_VARIABLE_WAIT_LIMIT_SECONDS     = "2"
      }
      booking_page = {
        SPIN_COMPONENT                  = "booking-page"
        SPIN_VARIABLE_AUTHENTICATION    = "jwt"
        SPIN_VARIABLE_JWT_ISSUER        = "https://issuer.example.org"
        SPIN_VARIABLE_OIDC_AUDIENCE     = "https://citas.example.org"
        SPIN_VARIABLE_OIDC_CLIENT_ID    = "booking-page"
        SPIN_VARIABLE_OIDC_SCOPE        = "openid"
        SPIN_VARIABLE_OIDC_TOKEN_ORIGIN = "https://login.example.org"
      }
      confirmation = {
        SPIN_COMPONENT                       = "confirmation"
        RECEIVE_DELAYS_SECONDS               = join(",", local.durations.receive_delays)
        SPIN_VARIABLE_AWS_REGION             = "us-east-1"
        SPIN_VARIABLE_DYNAMODB_ENDPOINT      = "https://dynamodb.us-east-1.amazonaws.com"
        SPIN_VARIABLE_SNS_ENDPOINT           = "https://sns.us-east-1.amazonaws.com"
        SPIN_VARIABLE_EVENTBRIDGE_ENDPOINT   = "https://events.us-east-1.amazonaws.com"
        SPIN_VARIABLE_APPOINTMENTS_TABLE     = "appointments"
        SPIN_VARIABLE_SLOTS_TABLE            = "slots"
        SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN = "arn:aws:sns:us-east-1:123456789012:appointment-commands"
        SPIN_VARIABLE_APPOINTMENTS_EVENT_BUS = "appointments"
      }
    }
    error_message = "Each function has its component's variables, and no other's."
  }
}

run "audit_key" {
  variables {
    audit_key        = "0123456789abcdef0123456789abcdef"
    edge_access_keys = ["first"]
  }

  assert {
    condition = nonsensitive(module.application.functions["intake"].environment[0].variables.SPIN_VARIABLE_AUDIT_KEY) == "0123456789abcdef0123456789abcdef" && (
      nonsensitive(output.edge_environment.audit_key) == "0123456789abcdef0123456789abcdef"
    )
    error_message = "Intake has the audit key as a function and at the edge: both write the same hashes."
  }
  assert {
    condition     = !can(module.application.functions["confirmation"].environment[0].variables.SPIN_VARIABLE_AUDIT_KEY)
    error_message = "Confirmation has not."
  }
}

run "two_environments_in_one_account" {
  variables {
    name_prefix      = "staging-"
    edge_access_keys = ["first"]
  }

  assert {
    condition = alltrue([
      for name in concat(
        [module.appointments.table.name, module.appointments.slots_table.name, module.appointments.topic.name, module.appointments.bus.name, module.appointments.archive.name],
        [for rule in module.appointments.rules : rule.name],
        [for worker in module.country_worker : worker.slots_bucket.name],
        [for worker in module.country_worker : worker.importer.rule.name],
        flatten([for queues in concat(values(module.country_worker)[*].queues, values(module.appointments.queues)) : [for queue in queues : queue.name]]),
        flatten([for functions in concat(values(module.country_worker)[*].functions, [module.application.functions]) : [for function in functions : function.function_name]]),
        [for rule in module.application.republish_rules : rule.name],
        [for worker in module.country_worker : worker.database.identifier],
        [module.edge_identity[0].user, module.observability.dashboard],
        keys(module.observability.alarms),
      ) : startswith(name, "staging-")
    ])
    error_message = "Names begin with the prefix."
  }
  assert {
    condition = alltrue([
      for group in module.observability.log_groups : strcontains(group.name, "/staging-")
    ])
    error_message = "So do those of the log groups, after what AWS begins them with."
  }
  assert {
    condition = alltrue([
      for alias in concat(
        [for key in module.appointments.keys : key.alias], flatten([for worker in module.country_worker : [for key in worker.keys : key.alias]]), [module.observability.key.alias]
      ) : startswith(alias, "alias/staging-")
    ])
    error_message = "So do the keys' aliases."
  }
  assert {
    condition = alltrue([
      for role in concat(values(module.application.roles), flatten([for worker in module.country_worker : values(worker.roles)])) : startswith(role, "staging-")
    ])
    error_message = "So do the roles."
  }
  assert {
    condition     = jsondecode(module.appointments.rules["outcomes"].event_pattern).source == ["appointments.worker.CL", "appointments.worker.PE"]
    error_message = "Sources of events belong to their bus and have no prefix: the components know them."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : worker.functions.worker.environment[0].variables.DATABASE_NAME == "appointments_${lower(country)}"
      && worker.functions.worker.environment[0].variables.EVENT_BUS_NAME == "staging-appointments"
    ])
    error_message = "Databases belong to their instance and have no prefix; the bus has one."
  }
  assert {
    condition     = output.edge_environment.appointments_table == "staging-appointments" && output.edge_environment.slots_table == "staging-slots"
    error_message = "Intake at the edge finds the tables of its environment."
  }
}
