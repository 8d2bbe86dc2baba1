# What the application's module refuses by itself.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  package      = "tests/fixtures/appointment.zip"
  architecture = "arm64"
  alias        = "alias"
  log_groups   = { intake = "/aws/lambda/intake", booking_page = "/aws/lambda/page", confirmation = "/aws/lambda/confirmation" }
  republish    = { interval_seconds = 60, countries = { PE = { rule = "republish-pe", input = "{}" } } }
  functions = {
    intake       = { name = "intake", description = "intake", policy = "{}", environment = {}, memory_mib = 256, timeout_seconds = 20 }
    booking_page = { name = "page", description = "page", policy = "{}", environment = {}, memory_mib = 256, timeout_seconds = 10 }
    confirmation = { name = "confirmation", description = "confirmation", policy = "{}", environment = {}, memory_mib = 256, timeout_seconds = 60, reserved_concurrency = 15 }
  }
  queues = {
    outcomes = { arn = "arn:aws:sqs:us-east-1:123456789012:queue", visibility_timeout = 480, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 10 }
    slots    = { arn = "arn:aws:sqs:us-east-1:123456789012:slots", visibility_timeout = 480, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 4 }
  }
}

run "nothing_to_refuse" {
  command = plan

  module {
    source = "./modules/application"
  }

  assert {
    condition     = keys(aws_lambda_function.this) == ["booking_page", "confirmation", "intake"]
    error_message = "The variables above are good."
  }
}

run "architecture_mismatch" {
  command = plan

  module {
    source = "./modules/application"
  }

  variables {
    architecture = "x86_64"
  }

  expect_failures = [aws_lambda_function.this]
}

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
run "more_batches_than_reserved_concurrency" {
  command = plan

  module {
    source = "./modules/application"
  }

  variables {
    queues = {
      outcomes = { arn = "arn:aws:sqs:us-east-1:123456789012:queue", visibility_timeout = 480, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 10 }
      slots    = { arn = "arn:aws:sqs:us-east-1:123456789012:slots", visibility_timeout = 480, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 5 }
    }
  }

  expect_failures = [aws_lambda_event_source_mapping.this]
}

run "visibility_below_six_time_outs" {
  command = plan

  module {
    source = "./modules/application"
  }

  variables {
    queues = {
      outcomes = { arn = "arn:aws:sqs:us-east-1:123456789012:queue", visibility_timeout = 480, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 10 }
      slots    = { arn = "arn:aws:sqs:us-east-1:123456789012:slots", visibility_timeout = 359, batch_size = 10, batching_window = 0, function_response_types = ["ReportBatchItemFailures"], maximum_concurrency = 4 }
    }
  }

  expect_failures = [aws_lambda_event_source_mapping.this]
}

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
run "an_environment_above_4_kb" {
  command = plan

  module {
    source = "./modules/application"
  }

  variables {
    functions = {
      intake       = { name = "intake", description = "intake", policy = "{}", environment = { KEYS = join("", [for digit in range(1000) : "5,000"]) }, memory_mib = 256, timeout_seconds = 20 }
      booking_page = { name = "page", description = "page", policy = "{}", environment = {}, memory_mib = 256, timeout_seconds = 10 }
      confirmation = { name = "confirmation", description = "confirmation", policy = "{}", environment = {}, memory_mib = 256, timeout_seconds = 60 }
    }
  }

  expect_failures = [aws_lambda_function.this]
}

run "half_a_minute" {
  command = plan

  module {
    source = "./modules/application"
  }

  variables {
    republish = { interval_seconds = 30, countries = { PE = { rule = "republish-pe", input = "{}" } } }
  }

  expect_failures = [aws_cloudwatch_event_rule.republish]
}
