locals {
  database_address = {
    DATABASE_HOST = local.serving.address
    DATABASE_PORT = tostring(local.postgresql_port)
    DATABASE_NAME = var.database.name
  }

  # Three functions from one zip: the worker, the one that imports slots, and the one that applies the migrations and creates the users
  # of the other two.
  functions = {
    worker = {
      name        = var.worker.function
      description = "Decides requests of ${var.country}"
      timeout     = var.durations.worker_timeout
      concurrency = var.reserved_concurrency
      environment = {
        DATABASE_USER          = var.database.users.worker
        EVENT_BUS_NAME         = var.bus_name
        RECEIVE_DELAYS_SECONDS = join(",", var.durations.receive_delays)
      }
    }
    migration = {
      name        = var.worker.migration_function
      description = "Applies the migrations of ${var.country}"
      timeout     = var.durations.migration_timeout
      concurrency = null
      environment = {
        WORKER_MODE                = "migrate"
        DATABASE_USER              = var.database.users.worker
        IMPORT_DATABASE_USER       = var.database.users.importer
        DATABASE_MASTER_SECRET_ARN = local.serving.master_user_secret[0].secret_arn
        CATALOGUE                  = var.catalogue.kind
        MAX_OPEN_BOOKINGS          = tostring(var.catalogue.max_open_bookings)
      }
    }
    importer = {
      name        = var.importer.function
      description = "Imports slots of ${var.country}, and announces what changed"
      timeout     = var.durations.import_timeout
      # With 0 Lambda refuses every call, and repeats those of S3 for six hours.
      concurrency = var.paused ? 0 : null
      environment = {
        WORKER_MODE    = "import"
        DATABASE_USER  = var.database.users.importer
        EVENT_BUS_NAME = var.bus_name
      }
    }
  }

  built_architecture_file = "${trimsuffix(var.package, ".zip")}.architecture"
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:Each message and log line has a traceparent; X-Ray would be a second trace
  #checkov:skip=CKV_AWS_115:The worker's is a variable with a default; the migration runs once per deployment, the importer once per file
  #checkov:skip=CKV_AWS_116:The worker's queue has one, the migration reports to its caller, and a file that was not imported is still in its bucket
  #checkov:skip=CKV_AWS_173:The variables hold names and addresses, no secret
  #checkov:skip=CKV_AWS_272:The zip is built and applied by the same pipeline; its checksum is source_code_hash
  for_each = local.functions

  function_name    = each.value.name
  description      = each.value.description
  role             = aws_iam_role.function[each.key].arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_size
  timeout          = each.value.timeout
  publish          = true

  reserved_concurrent_executions = each.value.concurrency

  vpc_config {
    subnet_ids         = var.network.private_subnet_ids
    security_group_ids = [aws_security_group.function.id]
  }

  environment {
    variables = merge(local.database_address, each.value.environment)
  }

  logging_config {
    log_format = "Text" # The worker writes JSON lines itself.
    log_group  = var.log_groups[each.key]
  }

  lifecycle {
    precondition {
      condition     = try(trimspace(file(local.built_architecture_file)), "") == var.architecture
      error_message = "${local.built_architecture_file} must say ${var.architecture}, the architecture for which the zip beside it was built."
    }
  }

  # IAM needs seconds for a new role and its policy; the provider repeats the call until Lambda can assume the role and use its permissions.
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
  depends_on = [aws_iam_role_policy.function]
}

# Terraform stops if the function ends with an error. What depends on this waits for it.
resource "aws_lambda_invocation" "migration" {
  function_name = aws_lambda_function.this["migration"].function_name
  qualifier     = aws_lambda_function.this["migration"].version
  input         = jsonencode({})

  # It runs again with each new package and each new database, and if the country's rules change, because it writes them there.
  triggers = {
    package   = aws_lambda_function.this["migration"].source_code_hash
    database  = local.serving.resource_id
    catalogue = jsonencode(var.catalogue)
  }

  depends_on = [
    aws_vpc_security_group_egress_rule.to_database,
    aws_vpc_security_group_egress_rule.to_endpoints,
    aws_vpc_security_group_ingress_rule.database,
    aws_vpc_security_group_ingress_rule.endpoints,
  ]
}

# Queue, bucket and schedule call the alias: a published version, which keeps its code and its environment. The alias moves to the next
# version when its migrations are done; if they fail, the earlier version stays in use. https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html
resource "aws_lambda_alias" "worker" {
  name             = var.alias
  description      = "The version whose migrations are done"
  function_name    = aws_lambda_function.this["worker"].function_name
  function_version = aws_lambda_function.this["worker"].version

  depends_on = [aws_lambda_invocation.migration]
}

resource "aws_lambda_alias" "importer" {
  name             = var.alias
  description      = "The version whose migrations are done"
  function_name    = aws_lambda_function.this["importer"].function_name
  function_version = aws_lambda_function.this["importer"].version

  depends_on = [aws_lambda_invocation.migration]
}
