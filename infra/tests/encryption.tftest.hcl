# Keys. Without the statements for SNS and EventBridge, messages to an encrypted queue are dropped silently. The
# local stack has no keys and cannot show it.

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

run "keys" {
  assert {
    condition = alltrue([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)]), [module.observability.key]) : key.rotated
    ])
    error_message = "Each key is rotated."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [for queue in worker.queues : queue.kms_master_key_id == worker.keys["queue"].arn]
    ]))
    error_message = "A country's queues, the dead-letter queues included, are encrypted with the country's key."
  }
  assert {
    condition     = alltrue(flatten([for queues in module.appointments.queues : [for queue in queues : queue.kms_master_key_id == module.appointments.keys["queue"].arn]]))
    error_message = "The queues of outcomes and of slots, and their dead-letter queues, are encrypted with their key."
  }
  assert {
    condition = alltrue([
      for table in [module.appointments.table, module.appointments.slots_table] : table.server_side_encryption[0].enabled
      && table.server_side_encryption[0].kms_key_arn == module.appointments.keys["table"].arn
    ])
    error_message = "The tables are encrypted with their key."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : [
        for encryption in worker.slots_bucket.encryption.apply_server_side_encryption_by_default : [encryption.sse_algorithm, encryption.kms_master_key_id]
      ] == [["aws:kms", worker.keys["slots"].arn]]
    ])
    error_message = "A bucket is encrypted with its country's key."
  }
  assert {
    condition     = module.appointments.topic.kms_master_key_id == module.appointments.keys["topic"].arn
    error_message = "The topic is encrypted with its key."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.database.storage_encrypted && worker.database.kms_key_id == worker.keys["database"].arn
      && worker.database.master_user_secret_kms_key_id == worker.keys["secret"].arn
    ])
    error_message = "Database and master password are encrypted with the country's keys."
  }
  assert {
    condition     = alltrue([for group in module.observability.log_groups : group.kms_key_id == module.observability.key.arn])
    error_message = "The log groups are encrypted with their key."
  }
}

run "key_policies" {
  # "The user who specifies the customer managed key to encrypt the secret must have permissions": kms:DescribeKey, kms:Decrypt,
  # kms:GenerateDataKey, kms:CreateGrant. RDS calls KMS with the caller's rights.
  # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html#rds-secrets-manager-permissions
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for action in ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"] : anytrue([
          for statement in jsondecode(worker.keys["secret"].policy).Statement :
          contains(statement.Action, action) && contains(try(statement.Condition.StringEquals["kms:ViaService"], []), "rds.us-east-1.amazonaws.com")
          && statement.Principal == { AWS = "arn:aws:iam::123456789012:root" }
        ])
      ]
    ]))
    error_message = "RDS may create the secret of the master password with the permissions of whoever creates the database; without kms:CreateGrant the first apply ends there."
  }
  assert {
    condition = alltrue(flatten([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)])) : [
        for statement in jsondecode(key.policy).Statement : try(statement.Condition.Bool["kms:GrantIsForAWSResource"], "") == "true"
        if contains(statement.Action, "kms:CreateGrant")
      ]
    ]))
    error_message = "Grants are for AWS services alone."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : length([
        for statement in jsondecode(worker.keys["queue"].policy).Statement : statement
        if statement.Principal == { Service = "sns.amazonaws.com" } && statement.Effect == "Allow"
        && toset(statement.Action) == toset(["kms:Decrypt", "kms:GenerateDataKey"])
        && try(statement.Condition.ArnEquals["aws:SourceArn"], []) == [module.appointments.topic.arn]
        && try(statement.Condition.StringEquals["aws:SourceAccount"], []) == ["123456789012"]
      ]) == 1
    ])
    error_message = "SNS may use the key of a country's queues, for the topic only; without it messages are dropped silently."
  }
  assert {
    condition = length([
      for statement in jsondecode(module.appointments.keys["queue"].policy).Statement : statement
      if statement.Principal == { Service = "events.amazonaws.com" } && statement.Effect == "Allow"
      && toset(statement.Action) == toset(["kms:Decrypt", "kms:GenerateDataKey"])
      && try(statement.Condition.ArnEquals["aws:SourceArn"], []) == [for rule in module.appointments.rules : rule.arn]
      && try(statement.Condition.StringEquals["aws:SourceAccount"], []) == ["123456789012"]
    ]) == 1
    error_message = "EventBridge may use the key of the queues, for their rules only; without it events are dropped silently."
  }
  assert {
    condition = alltrue(flatten([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)]), [module.observability.key]) : [
        for statement in jsondecode(key.policy).Statement : can(statement.Principal.AWS)
        ? statement.Principal.AWS == "arn:aws:iam::123456789012:root" : length(statement.Condition) > 0
      ]
    ]))
    error_message = "A key is used by this account, or by a service under a condition."
  }
  assert {
    condition = alltrue(flatten([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)]), [module.observability.key]) : [
        for statement in jsondecode(key.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "Key policies name each action."
  }
  assert {
    condition = alltrue(flatten([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)])) : [
        for statement in jsondecode(key.policy).Statement :
        try(statement.Condition.StringEquals["kms:ViaService"], []) != [] || !contains(statement.Action, "kms:Decrypt")
        if can(statement.Principal.AWS)
      ]
    ]))
    error_message = "Principals of the account decrypt through the service that the key is for, never directly."
  }
}

run "keys_outlive_their_data" {
  # https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html: a window of 7 to 30 days.
  assert {
    condition = alltrue([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)]), [module.observability.key]) :
      key.deletion_window_in_days == 30 && !strcontains(key.policy, "kms:ScheduleKeyDeletion")
    ])
    error_message = "By default nobody may delete a key: its snapshots and backups would be lost with it."
  }
}

run "keys_of_a_trial" {
  variables {
    keys_deletable = true
  }

  assert {
    condition = alltrue([
      for key in concat(values(module.appointments.keys), flatten([for worker in module.country_worker : values(worker.keys)]), [module.observability.key]) :
      strcontains(key.policy, "kms:ScheduleKeyDeletion")
    ])
    error_message = "A trial can be taken down whole."
  }
}

run "rights_to_keys" {
  # Principal, what its policy lets it do, on which key, through which service.
  assert {
    condition = alltrue([
      for use in [
        { policy = module.application.role_policies["intake"], key = "table", service = "dynamodb", actions = ["kms:Decrypt", "kms:GenerateDataKey"] },
        { policy = module.application.role_policies["intake"], key = "topic", service = "sns", actions = ["kms:Decrypt", "kms:GenerateDataKey"] },
        { policy = module.application.role_policies["confirmation"], key = "table", service = "dynamodb", actions = ["kms:Decrypt", "kms:GenerateDataKey"] },
        { policy = module.application.role_policies["confirmation"], key = "topic", service = "sns", actions = ["kms:Decrypt", "kms:GenerateDataKey"] },
        { policy = module.application.role_policies["confirmation"], key = "queue", service = "sqs", actions = ["kms:Decrypt"] },
        ] : length([
          for statement in jsondecode(use.policy).Statement : statement
          if length(setsubtract(use.actions, statement.Action)) == 0 && statement.Resource == [module.appointments.keys[use.key].arn]
          && try(statement.Condition.StringEquals["kms:ViaService"], "") == "${use.service}.us-east-1.amazonaws.com"
      ]) == 1
    ])
    error_message = "A principal that uses an encrypted resource may use its key."
  }
  assert {
    condition = alltrue(flatten([
      for worker in module.country_worker : [
        for function, use in {
          worker    = { key = "queue", service = "sqs", actions = ["kms:Decrypt"] }
          migration = { key = "secret", service = "secretsmanager", actions = ["kms:Decrypt"] }
          importer  = { key = "slots", service = "s3", actions = ["kms:Decrypt", "kms:GenerateDataKey"] }
          } : length([
            for statement in jsondecode(worker.role_policies[function]).Statement : statement
            if length(setsubtract(use.actions, statement.Action)) == 0 && statement.Resource == [worker.keys[use.key].arn]
            && try(statement.Condition.StringEquals["kms:ViaService"], "") == "${use.service}.us-east-1.amazonaws.com"
        ]) == 1
      ]
    ]))
    error_message = "The worker decrypts its queue, the migration the master password, the importer the files of slots, and none those of another."
  }
}
