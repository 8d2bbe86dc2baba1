# Who may do what: the statements of backplane.json, on this account's resources, and nothing beside them.

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

# The mock gives every table one ARN.
override_resource {
  target = module.appointments.aws_dynamodb_table.slots
  values = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/slots" }
}

run "functions" {
  assert {
    condition = jsonencode({ for name, policy in module.application.role_policies : name => sort(distinct(flatten(jsondecode(policy).Statement[*].Action))) }) == jsonencode({
      intake = [
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
        "logs:CreateLogStream", "logs:PutLogEvents",
        "sns:Publish",
      ]
      booking_page = ["logs:CreateLogStream", "logs:PutLogEvents"]
      confirmation = [
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "events:PutEvents",
        "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
        "logs:CreateLogStream", "logs:PutLogEvents",
        "sns:Publish",
        "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
      ]
    })
    error_message = "The functions have the rights that they need, and no others."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(module.application.role_policies["confirmation"]).Statement :
      statement.Condition == { StringEqualsIfExists = { "events:source" = ["appointments.confirmation"] } }
      if contains(statement.Action, "events:PutEvents")
    ])
    error_message = "The confirmation component cannot speak as a country."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(module.application.role_policies["confirmation"]).Statement :
      statement.Resource == ["${module.appointments.table.arn}/index/pending"] if contains(statement.Action, "dynamodb:Query")
    ])
    error_message = "The confirmation component queries the index only, never a person's list."
  }
  assert {
    condition = { for component in ["intake", "confirmation"] : component => {
      for statement in jsondecode(module.application.role_policies[component]).Statement : statement.Sid => [statement.Action, statement.Resource]
      if contains(["ReadSlots", "FindFreeSlots", "ProjectSlots"], statement.Sid)
      } } == {
      intake = {
        ReadSlots     = [["dynamodb:GetItem"], ["arn:aws:dynamodb:us-east-1:123456789012:table/slots"]]
        FindFreeSlots = [["dynamodb:Query"], [for index in ["center", "practitioner", "specialty"] : "arn:aws:dynamodb:us-east-1:123456789012:table/slots/index/free-by-${index}"]]
      }
      confirmation = {
        ProjectSlots = [["dynamodb:PutItem"], ["arn:aws:dynamodb:us-east-1:123456789012:table/slots"]]
      }
    }
    error_message = "Intake reads slots, and confirmation writes them."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(module.application.role_policies["confirmation"]).Statement : statement.Resource == [for queues in module.appointments.queues : queues.queue.arn]
      if anytrue([for action in statement.Action : startswith(action, "sqs:")])
    ])
    error_message = "It consumes the queues of outcomes and of slots, and no other."
  }
  assert {
    condition = alltrue([
      for component in ["intake", "booking_page", "confirmation"] : alltrue([
        for statement in jsondecode(module.application.role_policies[component]).Statement :
        statement.Resource == ["arn:aws:logs:us-east-1:123456789012:log-group:${module.observability.log_groups[component].name}:*"]
        if contains(statement.Action, "logs:PutLogEvents")
      ])
    ])
    error_message = "Each function writes to its own log group."
  }
  assert {
    condition = alltrue([
      for component, function in module.application.functions : function.role != null
      && length([for name in keys(function.environment[0].variables) : name if strcontains(name, "ACCESS_KEY") || strcontains(name, "SECRET") || strcontains(name, "TOKEN")]) == 0
    ])
    error_message = "A function's credentials come from its role, never from its settings."
  }
}

run "countries" {
  assert {
    condition = alltrue([
      for worker in module.country_worker : jsonencode({ for name, policy in worker.role_policies : name => sort(distinct(flatten(jsondecode(policy).Statement[*].Action))) }) == jsonencode({
        worker = [
          "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
          "events:PutEvents", "kms:Decrypt", "logs:CreateLogStream", "logs:PutLogEvents", "rds-db:connect",
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        ]
        importer = [
          "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
          "events:PutEvents", "kms:Decrypt", "kms:GenerateDataKey", "logs:CreateLogStream", "logs:PutLogEvents", "rds-db:connect",
          "s3:GetObject", "s3:PutObject",
        ]
        migration = [
          "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
          "kms:Decrypt", "logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue",
        ]
      })
    ])
    error_message = "A country's functions have the rights that they need, and no others."
  }
  assert {
    condition = alltrue([
      for country, worker in module.country_worker : alltrue([
        for statement in flatten([for function in ["worker", "importer"] : jsondecode(worker.role_policies[function]).Statement]) :
        statement.Condition == { StringEqualsIfExists = { "events:source" = ["appointments.worker.${country}"] } }
        if contains(statement.Action, "events:PutEvents")
      ])
    ])
    error_message = "A worker and an importer speak as their own country."
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
      for worker in module.country_worker : {
        for statement in jsondecode(worker.role_policies["importer"]).Statement : statement.Sid => statement.Resource
        if contains(["ConnectToDatabase", "ReadFiles", "WriteReports"], statement.Sid)
        } == {
        ConnectToDatabase = ["arn:aws:rds-db:us-east-1:123456789012:dbuser:${worker.database.resource_id}/importer"]
        ReadFiles         = ["${worker.slots_bucket.arn}/slots/*"]
        WriteReports      = ["${worker.slots_bucket.arn}/reports/*"]
      }
    ])
    error_message = "An importer connects as the user importer, reads files of its country's bucket, and writes reports there."
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
  variables {
    edge_access_keys = ["first"]
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(
        [module.edge_identity[0].policy], values(module.application.role_policies),
        flatten([for worker in module.country_worker : values(worker.role_policies)]), values(module.network.endpoint_policies),
      ) : [for statement in jsondecode(policy).Statement : [for action in statement.Action : !strcontains(action, "*")]]
    ]))
    error_message = "Policies name each action."
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(
        [module.edge_identity[0].policy], values(module.application.role_policies),
        flatten([for worker in module.country_worker : values(worker.role_policies)]), values(module.network.endpoint_policies),
        ) : [
        for statement in jsondecode(policy).Statement : [
          for resource in statement.Resource : !strcontains(resource, "*")
          || (statement.Sid == "WriteLogs" && endswith(resource, ":*"))
          || (statement.Sid == "AttachToNetwork" && resource == "arn:aws:ec2:us-east-1:123456789012:*/*")
          || (statement.Sid == "DescribeNetwork" && alltrue([for action in statement.Action : startswith(action, "ec2:Describe")]))
          || (contains(["ReadFiles", "WriteReports"], statement.Sid) && can(regex("/(slots|reports)/\\*$", resource)))
          || (statement.Sid == "OfThisAccount" && can(regex("^arn:aws:s3:::appointments-slots-(cl|pe)-123456789012/\\*$", resource)))
          || resource == "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-*"
        ]
      ]
    ]))
    error_message = "Policies name each resource, but for log streams, objects of a bucket, Lambda's network interfaces, and an endpoint's secrets of RDS."
  }
}

run "trusts" {
  assert {
    condition = alltrue([
      for trust in concat(values(module.application.role_trusts), flatten([for worker in module.country_worker : values(worker.role_trusts)])) :
      jsondecode(trust).Statement == [{ Sid = "AssumeByLambda", Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
    ])
    error_message = "Lambda, and nobody else, assumes a function's role."
  }
}

run "nobody_at_the_edge" {
  assert {
    condition     = length(module.edge_identity) == 0 && output.edge_environment == {}
    error_message = "Without edge_access_keys there is no IAM user."
  }
}

run "edge" {
  variables {
    edge_access_keys = ["first"]
  }

  assert {
    condition = jsondecode(module.edge_identity[0].policy).Statement == [
      for statement in jsondecode(module.application.role_policies["intake"]).Statement : statement if statement.Sid != "WriteLogs"
    ]
    error_message = "At the edge intake may do what it may do as a function, but for the function's log."
  }
  assert {
    condition     = module.edge_identity[0].user == "appointments-edge" && module.edge_identity[0].access_key_labels == ["first"]
    error_message = "There is one user with one key."
  }
}

run "rotation_of_the_edges_keys" {
  variables {
    edge_access_keys = ["2026-05", "2026-11"]
  }

  assert {
    condition = output.edge_environment.intake_access_key_id == module.edge_identity[0].access_key.id && (
      toset(module.edge_identity[0].access_key_labels) == toset(["2026-05", "2026-11"])
    )
    error_message = "While two keys are valid, the output gives the newest, and the old one stays until its label is removed."
  }
}

run "too_many_keys" {
  command = plan

  variables {
    edge_access_keys = ["a", "b", "c"]
  }

  expect_failures = [var.edge_access_keys]
}
