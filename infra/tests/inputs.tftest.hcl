# What is refused before anything is created.

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

run "unknown_country" {
  command = plan

  variables {
    countries = ["PE", "ZZ"]
  }

  expect_failures = [var.countries]
}

run "lower_case_country" {
  command = plan

  variables {
    countries = ["pe"]
  }

  expect_failures = [var.countries]
}

run "no_country" {
  command = plan

  variables {
    countries = []
  }

  expect_failures = [var.countries]
}

run "override_of_unknown_country" {
  command = plan

  variables {
    database_overrides = { ZZ = { multi_az = false } }
  }

  expect_failures = [var.database_overrides]
}

run "plain_http" {
  command = plan

  variables {
    application_url = "http://appointments.example.org"
  }

  expect_failures = [var.application_url]
}

run "url_with_a_path" {
  command = plan

  variables {
    application_url = "https://appointments.example.org/"
  }

  expect_failures = [var.application_url]
}

run "cidr_that_is_none" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
    s3        = { actions = [], resources = [] }
    endpoints = {}
    cidr      = "10.20.0.0"
  }

  expect_failures = [var.cidr]
}

run "cidr_too_small" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
    s3        = { actions = [], resources = [] }
    endpoints = {}
    cidr      = "10.20.0.0/28"
  }

  expect_failures = [var.cidr]
}

run "cidr_of_public_addresses" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
    s3        = { actions = [], resources = [] }
    endpoints = {}
    cidr      = "8.8.0.0/16"
  }

  expect_failures = [var.cidr]
}

run "cidr_inside_a_network" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
    s3        = { actions = [], resources = [] }
    endpoints = {}
    cidr      = "10.20.0.7/20"
  }

  expect_failures = [var.cidr]
}

run "one_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name                    = "test"
    s3                      = { actions = [], resources = [] }
    endpoints               = {}
    cidr                    = "10.20.0.0/20"
    availability_zone_count = 1
  }

  expect_failures = [var.availability_zone_count]
}

run "endpoint_for_anything" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
    cidr      = "10.20.0.0/20"
    s3        = { actions = [], resources = [] }
    endpoints = { events = { actions = ["events:*"], resources = ["*"] } }
  }

  expect_failures = [var.endpoints]
}

run "authorizer_without_rsa" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    jwt                  = { issuer = "https://issuer.example.org", audience = ["appointments"], algorithm = "ES256" }
  }

  expect_failures = [var.jwt]
}

run "authorizer_without_audience" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    jwt                  = { issuer = "https://issuer.example.org", audience = [], algorithm = "RS256" }
  }

  expect_failures = [var.jwt]
}

run "greedy_path" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    paths                = ["/{proxy+}"]
  }

  expect_failures = [var.paths]
}

run "greedy_path_of_the_page" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/", "/assets/{proxy+}"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
  }

  expect_failures = [var.page]
}

run "a_page_that_is_no_client" {
  command = plan

  variables {
    authentication = {
      issuer   = "https://issuer.example.org"
      audience = "appointments"
      jwks_url = "https://issuer.example.org/.well-known/jwks.json"
      page     = { client_id = "", token_origin = "https://login.example.org" }
    }
  }

  expect_failures = [var.authentication]
}

run "a_collector_without_a_scheme" {
  command = plan

  variables {
    otel_exporter_otlp_endpoint = "otlp.example.org:4318"
  }

  expect_failures = [var.otel_exporter_otlp_endpoint]
}

run "headers_for_no_collector" {
  command = plan

  variables {
    otel_exporter_otlp_headers = "authorization=Bearer%20token"
  }

  expect_failures = [var.otel_exporter_otlp_headers]
}

run "a_token_endpoint_in_place_of_its_origin" {
  command = plan

  variables {
    authentication = {
      issuer   = "https://issuer.example.org"
      audience = "appointments"
      jwks_url = "https://issuer.example.org/.well-known/jwks.json"
      page     = { client_id = "page", token_origin = "https://login.example.org/oauth2/token" }
    }
  }

  expect_failures = [var.authentication]
}

run "one_country" {
  variables {
    countries = ["PE"]
  }

  assert {
    condition     = keys(module.country_worker) == ["PE"] && jsondecode(module.appointments.rules["outcomes"].event_pattern).source == ["appointments.worker.PE"]
    error_message = "One of the countries can be set up alone."
  }
}

run "issuer_without_tls" {
  command = plan

  variables {
    authentication = { issuer = "http://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}" }
  }

  expect_failures = [var.authentication]
}

run "tokens_for_no_audience" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "", keys = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}" }
  }

  expect_failures = [var.authentication]
}

run "keys_that_are_no_jwks" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "-----BEGIN PUBLIC KEY-----" }
  }

  expect_failures = [var.authentication]
}

run "keys_of_another_algorithm" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}" }
  }

  expect_failures = [var.authentication]
}

run "rsa_keys" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}" }
  }

  assert {
    condition     = can(local.variables["intake"].jwt_keys)
    error_message = "RSA keys are taken."
  }
}

run "no_keys" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments" }
  }

  expect_failures = [var.authentication]
}

run "address_of_keys_without_tls" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", jwks_url = "http://issuer.example.org/keys" }
  }

  expect_failures = [var.authentication]
}

run "private_key" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}" }
  }

  expect_failures = [var.authentication]
}

run "no_staff_value" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", jwks_url = "https://issuer.example.org/keys", staff_value = "" }
  }

  expect_failures = [var.authentication]
}

run "origin_with_a_path" {
  command = plan

  variables {
    cors_allowed_origins = ["https://citas.example.org/"]
  }

  expect_failures = [var.cors_allowed_origins]
}

run "prefix_in_capitals" {
  command = plan

  variables {
    name_prefix = "Staging-"
  }

  expect_failures = [var.name_prefix]
}

run "function_switched_off_by_its_size" {
  command = plan

  variables {
    functions = { intake = { reserved_concurrency = 0 } }
  }

  expect_failures = [var.functions]
}

run "pausing_what_there_is_not" {
  command = plan

  variables {
    paused = ["worker"]
  }

  expect_failures = [var.paused]
}

run "throttling_of_an_unknown_route" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    route_throttling     = { "/elsewhere" = { rate_per_second = 1, burst = 1 } }
  }

  expect_failures = [var.route_throttling]
}

run "certificate_and_hosted_zone" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    function             = { name = "test", alias = "alias", invoke_arn = "arn" }
    page                 = { paths = ["/"], function = { name = "page", alias = "alias", invoke_arn = "arn" } }
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    domain               = { name = "citas.example.org", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1", zone_id = "Z0123456789" }
  }

  expect_failures = [var.domain]
}

run "one_key_twice" {
  command = plan

  module {
    source = "./modules/edge-identity"
  }

  variables {
    name        = "test"
    policy      = "{}"
    access_keys = ["first", "first"]
  }

  expect_failures = [var.access_keys]
}

run "short_audit_key" {
  command = plan

  variables {
    audit_key = "short"
  }

  expect_failures = [var.audit_key]
}
