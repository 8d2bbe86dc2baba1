# The reading of backplane.json, the one source of names, durations and policies; crates/local-stack/src/backplane.rs
# documents its shape, and reads the same file for the local stack.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  file      = jsondecode(file("${path.module}/backplane.json"))
  countries = var.countries == null ? toset(local.file.countries) : var.countries

  # Placeholders that refer to a name in the file come first, since what they name may hold a country's.
  text = replace(replace(
    jsonencode(local.file),
    "{worker.event_source}", local.file.worker.event_source),
    "{confirmation.event_source}", local.file.confirmation.event_source
  )

  backplane   = jsondecode(local.text)
  per_country = { for country in local.countries : country => jsondecode(replace(replace(local.text, "{COUNTRY}", country), "{country}", lower(country))) }
  durations   = local.backplane.durations_seconds

  # In an event pattern, which belongs to no country, an element with a country's placeholder stands for one a country.
  event_pattern = {
    for field in keys(local.backplane.bus.rule.event_pattern) : field => distinct(flatten([
      for country in local.countries : local.per_country[country].bus.rule.event_pattern[field]
    ]))
  }

  region    = data.aws_region.current.region
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # Resources by their logical names in the statements of backplane.json.
  arns = {
    table                     = module.appointments.table.arn
    table_index               = "${module.appointments.table.arn}/index/${local.backplane.table.index.name}"
    topic                     = module.appointments.topic.arn
    bus                       = module.appointments.bus.arn
    confirmation_queue        = module.appointments.queues.queue.arn
    confirmations_destination = module.appointments.destinations.confirmations.arn
    republish_destination     = module.appointments.destinations.republish.arn
    # By name, since a role's trust and the right to assume it would else wait for each other.
    intake_role       = "arn:${local.partition}:iam::${local.account}:role/${local.backplane.principals.intake.name}"
    confirmation_role = "arn:${local.partition}:iam::${local.account}:role/${local.backplane.principals.confirmation.name}"
    # Lambda makes and removes the interfaces; which ones is not known before:
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    network_attachment = "arn:${local.partition}:ec2:${local.region}:${local.account}:*/*"
    # IAM knows no resource for these actions.
    network_description = "*"
  }

  # Whoever uses an encrypted resource needs its key, through its service. A statement about the resource brings the right along.
  key_uses = {
    table              = { key = "table", service = "dynamodb", actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"] }
    table_index        = { key = "table", service = "dynamodb", actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"] }
    topic              = { key = "topic", service = "sns", actions = ["kms:Decrypt", "kms:GenerateDataKey"] }
    confirmation_queue = { key = "queue", service = "sqs", actions = ["kms:Decrypt"] }
  }

  # Policies of the principals of which there is one; a country's are completed in its module.
  policies = {
    for name, principal in local.backplane.principals : name => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [
          for statement in principal.statements : {
            for element, value in {
              Sid       = statement.sid
              Effect    = "Allow"
              Action    = statement.actions
              Resource  = [for resource in statement.resources : local.arns[resource]]
              Condition = try(statement.condition, null)
            } : element => value if value != null
          }
        ],
        [
          for key, uses in { for resource in flatten(principal.statements[*].resources) : local.key_uses[resource].key => local.key_uses[resource]... if contains(keys(local.key_uses), resource) } : {
            Sid       = "Use${title(key)}Key"
            Effect    = "Allow"
            Action    = distinct(flatten(uses[*].actions))
            Resource  = [module.appointments.keys[key].arn]
            Condition = { StringEquals = { "kms:ViaService" = "${uses[0].service}.${local.region}.amazonaws.com" } }
          }
        ],
      )
    }) if principal.kind != "country_worker"
  }

  country_roles = {
    for country in local.countries : country => {
      for name, principal in local.per_country[country].principals : name => {
        name = principal.name
        statements = [
          for statement in principal.statements : {
            sid       = statement.sid
            actions   = statement.actions
            resources = [for resource in statement.resources : lookup(local.arns, resource, resource)]
            condition = try(statement.condition, null)
          }
        ]
      } if principal.kind == "country_worker"
    }
  }
}
