locals {
  partition = data.aws_partition.current.partition
  scope     = "${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}"

  # This module's own resources, by their logical names in backplane.json.
  own_arns = {
    country_queue          = aws_sqs_queue.requests.arn
    worker_log_group       = "arn:${local.partition}:logs:${local.scope}:log-group:${var.log_groups["worker"]}:*"
    migration_log_group    = "arn:${local.partition}:logs:${local.scope}:log-group:${var.log_groups["migration"]}:*"
    importer_log_group     = "arn:${local.partition}:logs:${local.scope}:log-group:${var.log_groups["importer"]}:*"
    worker_database_user   = "arn:${local.partition}:rds-db:${local.scope}:dbuser:${local.serving.resource_id}/${var.database.users.worker}"
    importer_database_user = "arn:${local.partition}:rds-db:${local.scope}:dbuser:${local.serving.resource_id}/${var.database.users.importer}"
    slots_files            = "${aws_s3_bucket.slots.arn}/${var.slots_bucket.files}*"
    slots_reports          = "${aws_s3_bucket.slots.arn}/${var.slots_bucket.reports}*"
    database_master_secret = local.serving.master_user_secret[0].secret_arn
  }

  # A principal that uses an encrypted resource needs its key too, through the service.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
  own_keys = {
    country_queue          = { key = "queue", service = "sqs", actions = ["kms:Decrypt"] }
    database_master_secret = { key = "secret", service = "secretsmanager", actions = ["kms:Decrypt"] }
    slots_files            = { key = "slots", service = "s3", actions = ["kms:Decrypt"] }
    slots_reports          = { key = "slots", service = "s3", actions = ["kms:GenerateDataKey"] }
  }

  policies = {
    for function, role in var.roles : function => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [
          for statement in role.statements : {
            for element, value in {
              Sid       = statement.sid
              Effect    = "Allow"
              Action    = statement.actions
              Resource  = [for resource in statement.resources : lookup(local.own_arns, resource, resource)]
              Condition = statement.condition
            } : element => value if value != null
          }
        ],
        [
          for key, uses in { for resource in flatten(role.statements[*].resources) : local.own_keys[resource].key => local.own_keys[resource]... if contains(keys(local.own_keys), resource) } : {
            Sid       = "Use${title(key)}Key"
            Effect    = "Allow"
            Action    = distinct(flatten(uses[*].actions))
            Resource  = [module.key[key].arn]
            Condition = { StringEquals = { "kms:ViaService" = "${uses[0].service}.${data.aws_region.current.region}.amazonaws.com" } }
          }
        ],
      )
    })
  }
}

resource "aws_iam_role" "function" {
  for_each = var.roles

  name        = each.value.name
  description = "Execution role of the ${each.key} function of ${var.country}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AssumeByLambda"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = var.roles

  name   = each.value.name
  role   = aws_iam_role.function[each.key].id
  policy = local.policies[each.key]
}
