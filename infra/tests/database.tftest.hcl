# The countries' databases: private, encrypted, recoverable.

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

run "database" {
  assert {
    condition     = alltrue([for worker in module.country_worker : !worker.database.publicly_accessible])
    error_message = "No database has a public address."
  }
  assert {
    condition     = alltrue([for subnet in module.network.subnets : !subnet.public])
    error_message = "No subnet hands out public addresses."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.database_ingress.referenced_security_group_id == worker.database_ingress.function_security_group_id
      && worker.database_ingress.cidr_ipv4 == null && worker.database_ingress.cidr_ipv6 == null
    ])
    error_message = "Only the country's own functions reach its database."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.database.iam_database_authentication_enabled && worker.database.manage_master_user_password
    ])
    error_message = "The worker connects with an IAM token; the master password is made and kept by RDS."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.database.parameters["rds.force_ssl"] == "1"
      && worker.database.parameters["log_parameter_max_length"] == "0" && worker.database.parameters["log_parameter_max_length_on_error"] == "0"
    ])
    error_message = "Connections without TLS are refused, and no value of a statement is logged."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.database.multi_az && worker.database.deletion_protection && worker.database.backup_retention_period == 14
    ])
    error_message = "By default a database survives the loss of a zone and a mistaken deletion, and has two weeks of backups."
  }
  assert {
    condition = { for country, worker in module.country_worker : country => worker.database.identifier } == {
      CL = "appointments-cl"
      PE = "appointments-pe"
    }
    error_message = "Each country has its own database."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.functions.worker.environment[0].variables.DATABASE_USER == "worker"
      && worker.functions.importer.environment[0].variables.DATABASE_USER == "importer"
      && worker.functions.migration.environment[0].variables.IMPORT_DATABASE_USER == "importer"
      && !can(worker.functions.worker.environment[0].variables.DATABASE_MASTER_SECRET_ARN)
      && worker.functions.migration.environment[0].variables.DATABASE_MASTER_SECRET_ARN == worker.database.master_user_secret_arn
    ])
    error_message = "Only the migration gets the ARN of the master password."
  }
}

run "network" {
  assert {
    condition     = { for zone, subnet in module.network.subnets : zone => subnet.cidr } == { us-east-1a = "10.20.0.0/24", us-east-1b = "10.20.1.0/24" }
    error_message = "Each of two zones has a subnet."
  }
  assert {
    condition     = keys(module.network.endpoint_policies) == ["events", "s3", "secretsmanager", "sqs"]
    error_message = "There are no endpoints but those that the functions call."
  }
  assert {
    condition = alltrue(flatten([
      for policy in module.network.endpoint_policies : [
        for statement in jsondecode(policy).Statement : statement.Condition.StringEquals["aws:PrincipalAccount"] == "123456789012"
      ]
    ]))
    error_message = "Endpoints serve this account."
  }
  assert {
    condition = [for statement in jsondecode(module.network.endpoint_policies["sqs"]).Statement : { actions = statement.Action, resources = statement.Resource }] == [{
      actions   = ["sqs:ChangeMessageVisibility"]
      resources = ["arn:aws:sqs:us-east-1:123456789012:SQS_CL", "arn:aws:sqs:us-east-1:123456789012:SQS_PE"]
    }]
    error_message = "Through SQS's endpoint a worker sets when a message comes again, and does nothing else."
  }
  assert {
    condition = [for statement in jsondecode(module.network.endpoint_policies["s3"]).Statement : { actions = statement.Action, resources = statement.Resource }] == [{
      actions   = ["s3:GetObject", "s3:PutObject"]
      resources = ["arn:aws:s3:::appointments-slots-cl-123456789012/*", "arn:aws:s3:::appointments-slots-pe-123456789012/*"]
    }]
    error_message = "Through S3's endpoint an importer reads and writes objects of the countries' buckets, and does nothing else."
  }
}

run "overrides" {
  variables {
    database           = { multi_az = false }
    database_overrides = { PE = { instance_class = "db.m7g.large", multi_az = true } }
  }

  assert {
    condition = { for country, worker in module.country_worker : country => [worker.database.instance_class, worker.database.multi_az] } == {
      CL = ["db.t4g.small", false]
      PE = ["db.m7g.large", true]
    }
    error_message = "A country's override changes what it names, for that country."
  }
}

run "what_a_database_leaves" {
  variables {
    database           = { deletion_protection = false }
    database_overrides = { PE = { deletion_protection = true, final_snapshot = false, apply_immediately = true } }
  }

  assert {
    condition = { for country, worker in module.country_worker : country => [worker.databases[""].deletion_protection, worker.databases[""].skip_final_snapshot] } == {
      CL = [false, false]
      PE = [true, true]
    }
    error_message = "A database is protected for its country, and leaves a final snapshot unless told otherwise, protected or not."
  }
  assert {
    condition     = module.country_worker["CL"].databases[""].final_snapshot_identifier == "appointments-cl-final"
    error_message = "The snapshot is named after its database."
  }
  assert {
    condition     = { for country, worker in module.country_worker : country => worker.databases[""].apply_immediately } == { CL = false, PE = true }
    error_message = "Changes wait for the maintenance window unless told otherwise."
  }
}

run "protected_by_default" {
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.databases[""].deletion_protection && !worker.databases[""].skip_final_snapshot
      && !worker.databases[""].apply_immediately && !worker.databases[""].allow_major_version_upgrade
    ])
    error_message = "By default a database is protected, leaves a snapshot, and does not change in the middle of the day."
  }
}

run "major_version" {
  variables {
    database           = { engine_version = "17" }
    database_overrides = { PE = { engine_version = "18", allow_major_version_upgrade = true } }
  }

  assert {
    condition     = { for country, worker in module.country_worker : country => worker.database.parameter_group_family } == { CL = "postgres17", PE = "postgres18" }
    error_message = "The major version is a country's setting; the parameter group follows it."
  }
}

run "restored_to_a_point_in_time" {
  variables {
    paused = ["PE"]
    database_overrides = {
      PE = { instances = [{}, { suffix = "-20261125", point_in_time = { source_identifier = "appointments-pe", time = "2026-11-25T10:00:00Z" } }] }
    }
  }

  assert {
    condition = module.country_worker["PE"].database.identifier == "appointments-pe-20261125" && (
      module.country_worker["PE"].functions.worker.environment[0].variables.DATABASE_HOST == module.country_worker["PE"].database.address
    )
    error_message = "The functions use the restored database."
  }
  assert {
    condition = alltrue([
      for point in [module.country_worker["PE"].databases["-20261125"].restore_to_point_in_time[0]] :
      point.source_db_instance_identifier == "appointments-pe" && point.restore_time == "2026-11-25T10:00:00Z" && point.use_latest_restorable_time == null
    ])
    error_message = "It is restored from the earlier one's backups, as of the time."
  }
  assert {
    condition     = keys(module.country_worker["PE"].databases) == ["", "-20261125"] && module.country_worker["PE"].databases[""].identifier == "appointments-pe"
    error_message = "The earlier database stays, unchanged."
  }
  assert {
    condition     = module.country_worker["PE"].migration.triggers.database == module.country_worker["PE"].database.resource_id
    error_message = "The migrations run on the restored database, before the worker serves from it."
  }
  assert {
    condition = alltrue([
      for identifier in ["appointments-pe", "appointments-pe-20261125"] : contains(keys(module.observability.alarms), "${identifier}-storage")
      && module.observability.log_groups["${identifier}-postgresql"].name == "/aws/rds/instance/${identifier}/postgresql"
    ])
    error_message = "Both are watched, and have their log groups before RDS would create them."
  }
  assert {
    condition = jsonencode({ for country, worker in module.country_worker : country => [
      worker.event_source_mapping.enabled, worker.functions.importer.reserved_concurrent_executions, worker.importer.rule.state
    ] }) == jsonencode({ CL = [true, null, "ENABLED"], PE = [false, 0, "DISABLED"] })
    error_message = "A paused country takes no message, and the other goes on."
  }
}

run "restored_from_a_snapshot" {
  variables {
    database_overrides = { PE = { instances = [{ suffix = "-2", snapshot_identifier = "appointments-pe-final" }] } }
  }

  assert {
    condition = module.country_worker["PE"].databases["-2"].snapshot_identifier == "appointments-pe-final" && (
      length(module.country_worker["PE"].databases["-2"].restore_to_point_in_time) == 0
    )
    error_message = "A database is restored from a snapshot if the earlier one is gone."
  }
}

run "restored_table" {
  variables {
    tables = [{ deletion_protection = false }, { suffix = "-20261125", restore = { source_name = "appointments", time = "2026-11-25T10:00:00Z" } }]
    paused = ["intake", "confirmation"]
  }

  assert {
    condition = alltrue([
      for table in [module.appointments.tables["-20261125"]] : table.name == "appointments-20261125" && table.restore_source_name == "appointments"
      && table.restore_date_time == "2026-11-25T10:00:00Z" && table.restore_to_latest_time == null
      && table.ttl[0].enabled && table.point_in_time_recovery[0].enabled && table.deletion_protection_enabled
    ])
    error_message = "A table is restored under a new name, and gets what a restore does not copy: expiry, recovery and protection."
  }
  assert {
    condition     = module.appointments.table.name == "appointments-20261125" && !module.appointments.tables[""].deletion_protection_enabled
    error_message = "The last table is in use; the earlier one can be unprotected and removed."
  }
  assert {
    condition = alltrue([
      for component in ["intake", "confirmation"] : module.application.functions[component].environment[0].variables.SPIN_VARIABLE_APPOINTMENTS_TABLE == "appointments-20261125"
    ])
    error_message = "The functions use it."
  }
  assert {
    condition = module.application.functions["intake"].reserved_concurrent_executions == 0 && alltrue([for mapping in module.application.event_source_mappings : !mapping.enabled]) && alltrue([
      for rule in module.application.republish_rules : rule.state == "DISABLED"
    ])
    error_message = "While it is restored nothing writes."
  }
}

run "restored_to_the_latest" {
  variables {
    tables             = [{}, { suffix = "-2", restore = { source_name = "appointments" } }]
    database_overrides = { PE = { instances = [{}, { suffix = "-2", point_in_time = { source_identifier = "appointments-pe" } }] } }
  }

  assert {
    condition = module.appointments.tables["-2"].restore_to_latest_time && (
      module.country_worker["PE"].databases["-2"].restore_to_point_in_time[0].use_latest_restorable_time
    )
    error_message = "Without a time it is the latest."
  }
}
