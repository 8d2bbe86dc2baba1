# What is refused before anything is created.

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

run "short_key" {
  command = plan

  variables {
    internal_api_key = "short"
  }

  expect_failures = [var.internal_api_key]
}

run "short_previous_key" {
  command = plan

  variables {
    internal_api_key_previous = "short"
  }

  expect_failures = [var.internal_api_key_previous]
}

run "cidr_that_is_none" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name      = "test"
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
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    jwt                  = { issuer = "https://issuer.example.org", audience = [], algorithm = "RS256" }
  }

  expect_failures = [var.jwt]
}

run "internal_path" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    paths                = ["/internal/confirmations"]
  }

  expect_failures = [var.paths]
}

run "greedy_path" {
  command = plan

  module {
    source = "./modules/api-gateway"
  }

  variables {
    name                 = "test"
    access_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:test"
    paths                = ["/{proxy+}"]
  }

  expect_failures = [var.paths]
}

run "nobody_trusted" {
  command = plan

  module {
    source = "./modules/edge-identity"
  }

  variables {
    host       = { name = "host", policy = "{}" }
    components = { intake = { name = "test", policy = "{}" } }
    trust      = {}
  }

  expect_failures = [var.trust]
}

run "any_subject" {
  command = plan

  module {
    source = "./modules/edge-identity"
  }

  variables {
    host       = { name = "host", policy = "{}" }
    components = { intake = { name = "test", policy = "{}" } }
    trust = {
      oidc = { provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org", audience = "sts.amazonaws.com", subjects = ["*"] }
    }
  }

  expect_failures = [var.trust]
}

run "one_country" {
  variables {
    countries = ["PE"]
  }

  assert {
    condition     = keys(module.country_worker) == ["PE"] && jsondecode(module.appointments.rule.event_pattern).source == ["appointments.worker.PE"]
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
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}" }
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

run "two_staff_scopes" {
  command = plan

  variables {
    authentication = { issuer = "https://issuer.example.org", audience = "appointments", keys = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}", staff_scope = "one two" }
  }

  expect_failures = [var.authentication]
}
