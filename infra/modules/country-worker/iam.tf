locals {
  partition = data.aws_partition.current.partition
  scope     = "${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}"

  # This module's own resources, by their logical names in backplane.json.
  own_arns = {
    country_queue          = aws_sqs_queue.requests.arn
    worker_log_group       = "arn:${local.partition}:logs:${local.scope}:log-group:${var.log_groups["worker"]}:*"
    migration_log_group    = "arn:${local.partition}:logs:${local.scope}:log-group:${var.log_groups["migration"]}:*"
    worker_database_user   = "arn:${local.partition}:rds-db:${local.scope}:dbuser:${local.serving.resource_id}/${var.database.user}"
    database_master_secret = local.serving.master_user_secret[0].secret_arn
  }

  # Whoever reads an encrypted resource reads it through its service with the right to decrypt.
  own_keys = {
    country_queue          = { key = "queue", service = "sqs" }
    database_master_secret = { key = "secret", service = "secretsmanager" }
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
          for resource in distinct(flatten(role.statements[*].resources)) : {
            Sid       = "Decrypt${title(local.own_keys[resource].key)}"
            Effect    = "Allow"
            Action    = ["kms:Decrypt"]
            Resource  = [module.key[local.own_keys[resource].key].arn]
            Condition = { StringEquals = { "kms:ViaService" = "${local.own_keys[resource].service}.${data.aws_region.current.region}.amazonaws.com" } }
          } if contains(keys(local.own_keys), resource)
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
