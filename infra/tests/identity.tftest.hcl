# Who may do what: the statements of backplane.json, on this account's resources, and nothing beside them.

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

run "components" {
  assert {
    condition = jsonencode({ for name, policy in module.edge_identity.policies : name => sort(distinct(flatten(jsondecode(policy).Statement[*].Action))) }) == jsonencode({
      intake = [
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
        "sns:Publish",
      ]
      confirmation = [
        "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "events:PutEvents",
        "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
        "sns:Publish",
      ]
    })
    error_message = "The components have the rights that they need, and no others."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(module.edge_identity.policies["confirmation"]).Statement :
      statement.Condition == { StringEqualsIfExists = { "events:source" = ["appointments.confirmation"] } }
      if contains(statement.Action, "events:PutEvents")
    ])
    error_message = "The confirmation component cannot speak as a country."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(module.edge_identity.policies["confirmation"]).Statement :
      statement.Resource == ["${module.appointments.table.arn}/index/pending"] if contains(statement.Action, "dynamodb:Query")
    ])
    error_message = "The confirmation component queries the index only, never a person's list."
  }
}

run "countries" {
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : alltrue([
        for statement in jsondecode(worker.role_policies["worker"]).Statement :
        statement.Condition == { StringEqualsIfExists = { "events:source" = ["appointments.worker.${country}"] } }
        if contains(statement.Action, "events:PutEvents")
      ])
    ])
    error_message = "A worker speaks as its own country."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : alltrue([
        for statement in jsondecode(worker.role_policies["worker"]).Statement : statement.Resource == [worker.queues.queue.arn]
        if anytrue([for action in statement.Action : startswith(action, "sqs:")])
      ])
    ])
    error_message = "A worker consumes its own country's queue."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : length([
        for statement in jsondecode(worker.role_policies["worker"]).Statement : statement
        if statement.Action == ["rds-db:connect"]
        && statement.Resource == ["arn:aws:rds-db:us-east-1:123456789012:dbuser:${worker.database.resource_id}/worker"]
      ]) == 1
    ])
    error_message = "A worker connects to its own database, as the user worker and as nobody else."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : !strcontains(worker.role_policies["worker"], "secretsmanager:") && length([
        for statement in jsondecode(worker.role_policies["migration"]).Statement : statement
        if statement.Action == ["secretsmanager:GetSecretValue"] && statement.Resource == [worker.database.master_user_secret_arn]
      ]) == 1
    ])
    error_message = "The migration reads the master password; the worker does not."
  }
}

run "no_wildcards" {
  assert {
    condition = alltrue(flatten([
      for policy in concat(
        values(module.edge_identity.policies), values(module.appointments.role_policies),
        flatten([for worker in module.country_worker : values(worker.role_policies)]), values(module.network.endpoint_policies),
      ) : [for statement in jsondecode(policy).Statement : [for action in statement.Action : !strcontains(action, "*")]]
    ]))
    error_message = "Policies name each action."
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(
        values(module.edge_identity.policies), values(module.appointments.role_policies),
        flatten([for worker in module.country_worker : values(worker.role_policies)]), values(module.network.endpoint_policies),
        ) : [
        for statement in jsondecode(policy).Statement : [
          for resource in statement.Resource : !strcontains(resource, "*")
          || (statement.Sid == "WriteLogs" && endswith(resource, ":*"))
          || (statement.Sid == "AttachToNetwork" && resource == "arn:aws:ec2:us-east-1:123456789012:*/*")
          || (statement.Sid == "DescribeNetwork" && alltrue([for action in statement.Action : startswith(action, "ec2:Describe")]))
          || resource == "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-*"
        ]
      ]
    ]))
    error_message = "Policies name each resource, but for log streams, Lambda's network interfaces, and an endpoint's secrets of RDS."
  }
}

run "services" {
  assert {
    condition = alltrue(flatten([
      for name, destination in { pipe = "confirmations", republisher = "republish" } : length([
        for statement in jsondecode(module.appointments.role_policies[name]).Statement : statement
        if statement.Action == ["events:InvokeApiDestination"] && statement.Resource == [module.appointments.destinations[destination].arn]
      ]) == 1
    ]))
    error_message = "Pipe and schedule call their own destination, and not the other's."
  }
  assert {
    condition = alltrue([
      for name, service in { pipe = "pipes.amazonaws.com", republisher = "events.amazonaws.com" } :
      jsondecode(module.appointments.role_trusts[name]).Statement == [{
        Sid       = "AssumeForThisAccount"
        Effect    = "Allow"
        Principal = { Service = service }
        Action    = "sts:AssumeRole"
        Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      }]
    ])
    error_message = "The service assumes the role for this account only, and nobody else does."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for trust in worker.role_trusts : jsondecode(trust).Statement[*].Principal == [{ Service = "lambda.amazonaws.com" }]
      ]
    ]))
    error_message = "Lambda, and nobody else, assumes a function's role."
  }
}

run "hosting_task" {
  assert {
    condition = keys(module.edge_identity.roles) == ["confirmation", "intake"] && alltrue([
      for role in module.edge_identity.roles : jsondecode(role.trust).Statement == [{
        Sid       = "AssumeByHost"
        Effect    = "Allow"
        Principal = { AWS = module.edge_identity.host_role.arn }
        Action    = "sts:AssumeRole"
      }]
    ])
    error_message = "By default the host's role, and nobody else, assumes a component's role."
  }
  assert {
    condition = jsondecode(module.edge_identity.host_role.trust).Statement == [{
      Sid       = "AssumeByHostingTask"
      Effect    = "Allow"
      Principal = { Service = ["ecs-tasks.amazonaws.com"] }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
    }]
    error_message = "A hosting task of this account, and nobody else, gets the host's role."
  }
  assert {
    condition = jsondecode(module.edge_identity.host_role.policy).Statement == [{
      Sid      = "ActAsComponents"
      Effect   = "Allow"
      Action   = ["sts:AssumeRole"]
      Resource = ["arn:aws:iam::123456789012:role/appointments-intake", "arn:aws:iam::123456789012:role/appointments-confirmation"]
    }]
    error_message = "The host may act as a component, and nothing else."
  }
  assert {
    condition     = length(module.edge_identity.users) == 0
    error_message = "There is no IAM user that nobody asked for."
  }
}

run "oidc" {
  variables {
    component_trust = {
      oidc = {
        provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org/cluster"
        audience     = "sts.amazonaws.com"
        subjects     = ["system:serviceaccount:appointments:spin"]
      }
    }
  }

  assert {
    condition = alltrue([
      for role in module.edge_identity.roles : jsondecode(role.trust).Statement[0].Condition.StringEquals == {
        "oidc.example.org/cluster:aud" = "sts.amazonaws.com"
        "oidc.example.org/cluster:sub" = ["system:serviceaccount:appointments:spin"]
      } && length(jsondecode(role.trust).Statement) == 1
    ])
    error_message = "A role is assumed with a token for the audience and the exact subject."
  }
  assert {
    condition     = module.edge_identity.host_role == null
    error_message = "Where no AWS service runs the application, there is no role of a host."
  }
}

run "users_on_request" {
  variables {
    component_trust = { iam_users = true }
  }

  assert {
    condition     = module.edge_identity.users == { confirmation = "appointments-confirmation", intake = "appointments-intake" }
    error_message = "Users are created where they are asked for, one a component."
  }
  assert {
    condition     = length(module.edge_identity.roles) == 0
    error_message = "Without a trusted party there is no role."
  }
}

run "rotation_of_user_keys" {
  variables {
    component_trust = { iam_users = true, iam_user_keys = ["2026-05", "2026-11"] }
  }

  assert {
    condition     = length(module.edge_identity.access_keys) == 2 && output.intake_access_key_id == module.edge_identity.access_keys["intake"].id
    error_message = "While two keys are valid, the outputs give one for each component."
  }
  assert {
    condition     = toset(module.edge_identity.access_key_labels) == toset(["confirmation/2026-05", "confirmation/2026-11", "intake/2026-05", "intake/2026-11"])
    error_message = "The old key stays until its label is removed."
  }
}

run "too_many_user_keys" {
  command = plan

  variables {
    component_trust = { iam_users = true, iam_user_keys = ["a", "b", "c"] }
  }

  expect_failures = [var.component_trust]
}
