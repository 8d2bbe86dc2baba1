# The outputs are variables of spin.toml.

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

run "names" {
  command = plan

  assert {
    condition = length(setsubtract(
      flatten(regexall("(?m)^output \"(\\w+)\"", file("${path.module}/outputs.tf"))),
      flatten(regexall("(?m)^(\\w+) = \\{ ?(?:default|required)", split("[[trigger", split("[variables]", file("${path.module}/../spin.toml"))[1])[0])),
    )) == 0
    error_message = "Each output is a variable of the application."
  }
  assert {
    condition = length(setsubtract(
      flatten(regexall("(?m)^(\\w+) = \\{[^}]*required = true", split("[[trigger", split("[variables]", file("${path.module}/../spin.toml"))[1])[0])),
      flatten(regexall("(?m)^output \"(\\w+)\"", file("${path.module}/outputs.tf"))),
    )) == 0
    error_message = "Each variable that the application requires is an output."
  }
  assert {
    condition     = length(flatten(regexall("(?m)^(\\w+) = \\{[^}]*required = true", file("${path.module}/../spin.toml")))) >= 6
    error_message = "The required variables are found in spin.toml."
  }
  assert {
    condition = alltrue([
      for example in ["minimal", "production"] :
      { for name in flatten(regexall("(?m)^output \"(\\w+)\"", file("${path.module}/outputs.tf"))) : name => "module.backplane.${name}" } ==
      { for output in regexall("(?ms)^output \"(\\w+)\".*?value += (\\S+)", file("${path.module}/examples/${example}/outputs.tf")) : output[0] => output[1] }
    ])
    error_message = "The examples pass each output on, by the same name."
  }
}

run "values" {
  variables {
    component_trust = { iam_users = true }
  }

  assert {
    condition = {
      aws_region             = output.aws_region
      dynamodb_endpoint      = output.dynamodb_endpoint
      sns_endpoint           = output.sns_endpoint
      eventbridge_endpoint   = output.eventbridge_endpoint
      appointments_table     = output.appointments_table
      appointments_topic_arn = output.appointments_topic_arn
      appointments_event_bus = output.appointments_event_bus
      } == {
      aws_region             = "us-east-1"
      dynamodb_endpoint      = "https://dynamodb.us-east-1.amazonaws.com"
      sns_endpoint           = "https://sns.us-east-1.amazonaws.com"
      eventbridge_endpoint   = "https://events.us-east-1.amazonaws.com"
      appointments_table     = "appointments"
      appointments_topic_arn = "arn:aws:sns:us-east-1:123456789012:appointment-commands"
      appointments_event_bus = "appointments"
    }
    error_message = "The outputs lead the application to this backplane."
  }
  assert {
    condition = {
      authentication       = output.authentication
      jwt_issuer           = output.jwt_issuer
      jwt_audience         = output.jwt_audience
      jwt_keys             = jsondecode(output.jwt_keys)
      jwt_insured_id_claim = output.jwt_insured_id_claim
      jwt_staff_scope      = output.jwt_staff_scope
      } == {
      authentication       = "jwt"
      jwt_issuer           = "https://issuer.example.org"
      jwt_audience         = "appointments"
      jwt_keys             = jsondecode(var.authentication.keys)
      jwt_insured_id_claim = "sub"
      jwt_staff_scope      = "appointments:staff"
    } && !strcontains(output.jwt_keys, "\n")
    error_message = "What is deployed always checks tokens; the keys stand on one line, as an environment file needs them."
  }
  assert {
    condition     = output.internal_api_key == var.internal_api_key && output.internal_api_key_previous == null
    error_message = "The application takes the key that AWS sends."
  }
  assert {
    condition = alltrue([
      for key in [output.intake_access_key_id, output.intake_secret_access_key, output.confirmation_access_key_id, output.confirmation_secret_access_key] :
      try(length(key) > 0, false)
    ]) && output.intake_access_key_id != output.confirmation_access_key_id
    error_message = "With IAM users, each component has its own access key."
  }
  assert {
    condition = alltrue([
      for secret in ["intake_access_key_id", "intake_secret_access_key", "confirmation_access_key_id", "confirmation_secret_access_key", "internal_api_key", "internal_api_key_previous"] :
      can(regex("output \"${secret}\" \\{[^}]*sensitive *= true", file("${path.module}/outputs.tf")))
    ])
    error_message = "Secrets are marked sensitive."
  }
}

run "no_keys_with_roles" {
  assert {
    condition = alltrue([
      for key in [output.intake_access_key_id, output.intake_secret_access_key, output.confirmation_access_key_id, output.confirmation_secret_access_key] : key == null
    ])
    error_message = "Without IAM users there is no key to put out: the host fetches a role's."
  }
}
