# The countries' databases: private, encrypted, recoverable.

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
    error_message = "Each country has a database of its own."
  }
  assert {
    condition = alltrue([
      for worker in module.country_worker : worker.functions.worker.environment[0].variables.DATABASE_USER == "worker"
      && !can(worker.functions.worker.environment[0].variables.DATABASE_MASTER_SECRET_ARN)
      && worker.functions.migration.environment[0].variables.DATABASE_MASTER_SECRET_ARN == worker.database.master_user_secret_arn
    ])
    error_message = "Only the migration is told where the master password is."
  }
}

run "network" {
  assert {
    condition     = { for zone, subnet in module.network.subnets : zone => subnet.cidr } == { us-east-1a = "10.20.0.0/24", us-east-1b = "10.20.1.0/24" }
    error_message = "Each of two zones has a subnet."
  }
  assert {
    condition     = keys(module.network.endpoint_policies) == ["events", "secretsmanager"]
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

run "architecture_mismatch" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    country      = "PE"
    topic_arn    = "arn:aws:sns:us-east-1:123456789012:topic"
    bus_name     = "bus"
    package      = "tests/fixtures/appointment-pe.zip"
    architecture = "x86_64"
    log_groups   = { worker = "/aws/lambda/worker", migration = "/aws/lambda/migration" }
    network      = { vpc_id = "vpc-1", private_subnet_ids = ["subnet-1", "subnet-2"], endpoints_security_group_id = "sg-1" }
    roles        = { worker = { name = "worker", statements = [] }, migration = { name = "migration", statements = [] } }
    worker       = { function = "worker", migration_function = "migration", batch_size = 10, function_response_types = ["ReportBatchItemFailures"] }
    queue = {
      name                       = "queue"
      dead_letter_queue          = "dead"
      delivery_dead_letter_queue = "undelivered"
      max_receive_count          = 8
      subscription               = { raw_message_delivery = true, filter_policy = { countryISO = ["PE"] } }
    }
    durations = { visibility_timeout = 300, receive_delays = [5, 30, 120, 300, 600, 600, 600], worker_timeout = 30, migration_timeout = 300, batching_window = 0, queue_retention = 345600, dead_letter_retention = 1209600 }
    database = {
      name                      = "appointments_pe"
      user                      = "worker"
      engine_version            = "17"
      instance_class            = "db.t4g.small"
      allocated_storage_gib     = 20
      max_allocated_storage_gib = 200
      multi_az                  = false
      backup_retention_days     = 14
      deletion_protection       = false
    }
  }

  expect_failures = [aws_lambda_function.this]
}
