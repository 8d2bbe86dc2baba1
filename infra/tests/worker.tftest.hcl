# What a country's module refuses by itself.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  country              = "PE"
  topic_arn            = "arn:aws:sns:us-east-1:123456789012:topic"
  bus_name             = "bus"
  alias                = "alias"
  package              = "tests/fixtures/appointment-pe.zip"
  architecture         = "arm64"
  reserved_concurrency = 25
  maximum_concurrency  = 20
  log_groups           = { worker = "/aws/lambda/worker", migration = "/aws/lambda/migration", importer = "/aws/lambda/importer" }
  network              = { vpc_id = "vpc-1", private_subnet_ids = ["subnet-1", "subnet-2"], endpoints_security_group_id = "sg-1", s3_prefix_list_id = "pl-1" }
  roles                = { for function in ["worker", "migration", "importer"] : function => { name = function, statements = [] } }
  importer             = { function = "importer", drain_rule = "drain" }
  slots_bucket         = { name = "slots-123456789012", files = "slots/", reports = "reports/" }
  catalogue            = { kind = "own", max_open_bookings = 20 }
  worker               = { function = "worker", migration_function = "migration", batch_size = 10, function_response_types = ["ReportBatchItemFailures"] }
  queue = {
    name                       = "queue"
    dead_letter_queue          = "dead"
    delivery_dead_letter_queue = "undelivered"
    max_receive_count          = 8
    subscription               = { raw_message_delivery = true, filter_policy = { countryISO = ["PE"] } }
  }
  durations = { visibility_timeout = 300, receive_delays = [5, 30, 120, 300, 600, 600, 600], worker_timeout = 30, migration_timeout = 300, import_timeout = 900, drain_interval = 60, slots_file_retention = 7776000, batching_window = 0, queue_retention = 345600, dead_letter_retention = 1209600 }
  database = {
    name                        = "appointments_pe"
    users                       = { worker = "worker", importer = "importer" }
    engine_version              = "17"
    instance_class              = "db.t4g.small"
    allocated_storage_gib       = 20
    max_allocated_storage_gib   = 200
    multi_az                    = false
    backup_retention_days       = 14
    deletion_protection         = false
    final_snapshot              = true
    apply_immediately           = false
    allow_major_version_upgrade = false
    instances                   = [{}]
  }
}

run "nothing_to_refuse" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  assert {
    condition     = keys(aws_db_instance.this) == [""]
    error_message = "The variables above are good."
  }
}

run "architecture_mismatch" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    architecture = "x86_64"
  }

  expect_failures = [aws_lambda_function.this]
}

# "Make sure that your function's reserved concurrency is greater than or equal to the total maximum concurrency for all Amazon SQS event
# sources on the function. Otherwise, Lambda may throttle your messages."
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
run "more_batches_than_reserved_concurrency" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    reserved_concurrency = 20
  }

  expect_failures = [aws_lambda_event_source_mapping.requests]
}

run "nothing_reserved" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    reserved_concurrency = null
  }

  assert {
    condition     = aws_lambda_function.this["worker"].reserved_concurrent_executions == null
    error_message = "Without a reservation there is nothing to stay below."
  }
}

run "an_outage_of_half_an_hour" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    durations = { visibility_timeout = 300, receive_delays = [5, 30, 120, 300, 300, 300, 300], worker_timeout = 30, migration_timeout = 300, import_timeout = 900, drain_interval = 60, slots_file_retention = 7776000, batching_window = 0, queue_retention = 345600, dead_letter_retention = 1209600 }
  }

  expect_failures = [aws_sqs_queue.requests]
}

run "half_a_minute_between_drains" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    durations = { visibility_timeout = 300, receive_delays = [5, 30, 120, 300, 600, 600, 600], worker_timeout = 30, migration_timeout = 300, import_timeout = 900, drain_interval = 30, slots_file_retention = 7776000, batching_window = 0, queue_retention = 345600, dead_letter_retention = 1209600 }
  }

  expect_failures = [aws_cloudwatch_event_rule.drain]
}

# A report is an object of the same bucket: with the prefix of files it would call the importer.
run "reports_among_the_files" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    slots_bucket = { name = "slots-123456789012", files = "slots/", reports = "slots/" }
  }

  expect_failures = [var.slots_bucket]
}

run "a_catalogue_of_neither_kind" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    catalogue = { kind = "none", max_open_bookings = 20 }
  }

  expect_failures = [var.catalogue]
}

run "restored_from_two_sources" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    database = {
      name                        = "appointments_pe"
      users                       = { worker = "worker", importer = "importer" }
      engine_version              = "17"
      instance_class              = "db.t4g.small"
      allocated_storage_gib       = 20
      max_allocated_storage_gib   = 200
      multi_az                    = false
      backup_retention_days       = 14
      deletion_protection         = false
      final_snapshot              = true
      apply_immediately           = false
      allow_major_version_upgrade = false
      instances                   = [{}, { suffix = "-2", snapshot_identifier = "snapshot", point_in_time = { source_identifier = "appointments-pe" } }]
    }
  }

  expect_failures = [var.database]
}

run "two_instances_of_one_name" {
  command = plan

  module {
    source = "./modules/country-worker"
  }

  variables {
    database = {
      name                        = "appointments_pe"
      users                       = { worker = "worker", importer = "importer" }
      engine_version              = "17"
      instance_class              = "db.t4g.small"
      allocated_storage_gib       = 20
      max_allocated_storage_gib   = 200
      multi_az                    = false
      backup_retention_days       = 14
      deletion_protection         = false
      final_snapshot              = true
      apply_immediately           = false
      allow_major_version_upgrade = false
      instances                   = [{}, { snapshot_identifier = "snapshot" }]
    }
  }

  expect_failures = [var.database]
}
