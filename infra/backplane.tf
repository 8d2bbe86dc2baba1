# The reading of backplane.json, the one source of names, durations and policies; tools/operator/src/backplane.rs
# documents its shape, and reads the same file for the local stack.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  file      = jsondecode(file("${path.module}/backplane.json"))
  countries = var.countries == null ? toset(local.file.countries[*].code) : var.countries

  # Placeholders for a name in the file are expanded first, because that name may contain a country's placeholder.
  text = replace(replace(
    jsonencode(local.file),
    "{worker.event_source}", local.file.worker.event_source),
    "{confirmation.event_source}", local.file.confirmation.event_source
  )

  # The file's content for all countries and for each, with the prefix of this environment's names. Sources of events belong to their
  # bus, and databases and their users to their instance, so they need no prefix.
  named = { for key, file in merge({ all = jsondecode(local.text) }, {
    for country in local.countries : country => jsondecode(replace(replace(local.text, "{COUNTRY}", country), "{country}", lower(country)))
    }) : key => merge(file, {
    table              = merge(file.table, { name = "${var.name_prefix}${file.table.name}" })
    slots_table        = merge(file.slots_table, { name = "${var.name_prefix}${file.slots_table.name}" })
    topic              = merge(file.topic, { name = "${var.name_prefix}${file.topic.name}" })
    api                = merge(file.api, { name = "${var.name_prefix}${file.api.name}" })
    country_queue      = merge(file.country_queue, { for part in local.queue_names : part => "${var.name_prefix}${file.country_queue[part]}" })
    confirmation_queue = merge(file.confirmation_queue, { for part in local.queue_names : part => "${var.name_prefix}${file.confirmation_queue[part]}" })
    slots_queue        = merge(file.slots_queue, { for part in local.queue_names : part => "${var.name_prefix}${file.slots_queue[part]}" })
    worker             = merge(file.worker, { for part in ["function", "migration_function"] : part => "${var.name_prefix}${file.worker[part]}" })
    intake             = merge(file.intake, { function = "${var.name_prefix}${file.intake.function}" })
    booking_page       = merge(file.booking_page, { function = "${var.name_prefix}${file.booking_page.function}" })
    confirmation = merge(file.confirmation, {
      function  = "${var.name_prefix}${file.confirmation.function}"
      republish = merge(file.confirmation.republish, { rule = "${var.name_prefix}${file.confirmation.republish.rule}" })
    })
    importer = merge(file.importer, { for part in ["function", "drain_rule"] : part => "${var.name_prefix}${file.importer[part]}" })
    # The name of a bucket is unique in the whole world: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    slots_bucket = merge(file.slots_bucket, { name = "${var.name_prefix}${file.slots_bucket.name}-${local.account}" })
    bus = merge(file.bus, { for part in ["name", "archive"] : part => "${var.name_prefix}${file.bus[part]}" }, {
      rules = { for key, rule in file.bus.rules : key => merge(rule, { name = "${var.name_prefix}${rule.name}" }) }
    })
    principals = { for name, principal in file.principals : name => merge(principal, {
      name       = "${var.name_prefix}${principal.name}"
      statements = concat(try(file.principals[principal.statements_of].statements, []), principal.statements)
    }) }
  }) }
  queue_names = ["name", "dead_letter_queue", "delivery_dead_letter_queue"]

  backplane   = local.named["all"]
  per_country = { for country in local.countries : country => local.named[country] }
  durations   = local.backplane.durations_seconds
  catalogues  = { for country in local.file.countries : country.code => { kind = country.catalogue, max_open_bookings = country.max_open_bookings } }

  # The zips have the functions' names without the prefix: every environment uses the same build. One zip holds the application's
  # functions.
  packages = merge(
    { application = local.file.intake.function },
    { for country in local.countries : country => replace(local.file.worker.function, "{country}", lower(country)) },
  )

  # In an event pattern, which belongs to no country, an element with a country's placeholder means one per country.
  event_patterns = {
    for key, rule in local.backplane.bus.rules : key => {
      for field in keys(rule.event_pattern) : field => distinct(flatten([
        for country in local.countries : local.per_country[country].bus.rules[key].event_pattern[field]
      ]))
    }
  }

  region    = data.aws_region.current.region
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # Resources by their logical names in the statements of backplane.json.
  arns = {
    table                  = module.appointments.table.arn
    table_index            = "${module.appointments.table.arn}/index/${local.backplane.table.index.name}"
    slots_table            = module.appointments.slots_table.arn
    slots_table_indexes    = [for index in keys(local.backplane.slots_table.indexes.partition_keys) : "${module.appointments.slots_table.arn}/index/${index}"]
    topic                  = module.appointments.topic.arn
    bus                    = module.appointments.bus.arn
    confirmation_queue     = module.appointments.queues["outcomes"].queue.arn
    slots_queue            = module.appointments.queues["slots"].queue.arn
    intake_log_group       = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.function_log_groups["intake"]}:*"
    booking_page_log_group = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.function_log_groups["booking_page"]}:*"
    confirmation_log_group = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.function_log_groups["confirmation"]}:*"
    # Lambda creates and removes the interfaces, so their ids are not known before:
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    network_attachment = "arn:${local.partition}:ec2:${local.region}:${local.account}:*/*"
    # IAM has no resource type for these actions.
    network_description = "*"
  }

  # A principal that uses an encrypted resource needs its key too, through the service. Each statement about such a resource brings one
  # about the key.
  key_uses = merge(
    { for table in ["table", "table_index", "slots_table", "slots_table_indexes"] : table => {
      key     = "table"
      service = "dynamodb"
      actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    } },
    { topic = { key = "topic", service = "sns", actions = ["kms:Decrypt", "kms:GenerateDataKey"] } },
    { for queue in ["confirmation_queue", "slots_queue"] : queue => { key = "queue", service = "sqs", actions = ["kms:Decrypt"] } },
  )

  # Policies of the principals that no country has; those of a country are completed in its module.
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
              Resource  = flatten([for resource in statement.resources : local.arns[resource]])
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

  # Variables of spin.toml for each component, by their names.
  variables = {
    intake = merge(local.backplane_variables, {
      authentication           = "jwt"
      jwt_issuer               = var.authentication.issuer
      jwt_audience             = var.authentication.audience
      jwt_type                 = var.authentication.token_type
      jwt_max_lifetime_seconds = tostring(var.authentication.max_lifetime_seconds)
      jwt_insured_id_claim     = var.authentication.insured_id_claim
      jwt_staff_claim          = var.authentication.staff_claim
      jwt_staff_value          = var.authentication.staff_value
      cors_allowed_origins     = join(",", var.cors_allowed_origins)
      },
      var.audit_key == null ? {} : { audit_key = var.audit_key },
      # On one line, because an environment file has one line for each variable.
      var.authentication.keys == null ? {} : { jwt_keys = jsonencode(jsondecode(var.authentication.keys)) },
      var.authentication.jwks_url == null ? {} : {
        jwt_jwks_origin = try(regex("^(https://[^/]+)(/.*)$", var.authentication.jwks_url)[0], "")
        jwt_jwks_path   = try(regex("^(https://[^/]+)(/.*)$", var.authentication.jwks_url)[1], "")
    })
    booking_page = merge({
      authentication       = "jwt"
      jwt_issuer           = var.authentication.issuer
      jwt_insured_id_claim = var.authentication.insured_id_claim
      }, var.authentication.page == null ? {} : {
      oidc_client_id    = var.authentication.page.client_id
      oidc_scope        = var.authentication.page.scope
      oidc_token_origin = var.authentication.page.token_origin
      oidc_audience     = var.authentication.page.audience
    })
    confirmation = merge(local.backplane_variables, {
      eventbridge_endpoint   = "https://events.${local.region}.${data.aws_partition.current.dns_suffix}"
      appointments_event_bus = module.appointments.bus.name
    })
  }
  backplane_variables = {
    aws_region             = local.region
    dynamodb_endpoint      = "https://dynamodb.${local.region}.${data.aws_partition.current.dns_suffix}"
    sns_endpoint           = "https://sns.${local.region}.${data.aws_partition.current.dns_suffix}"
    appointments_table     = module.appointments.table.name
    slots_table            = module.appointments.slots_table.name
    appointments_topic_arn = module.appointments.topic.arn
  }

  environments = {
    for component, variables in local.variables : component => merge(
      { for name, value in variables : "SPIN_VARIABLE_${upper(name)}" => value },
      { SPIN_COMPONENT = replace(component, "_", "-") },
      # A request that waits occupies an environment of the function.
      component == "intake" ? { SPIN_VARIABLE_WAIT_LIMIT_SECONDS = "2" } : {},
      # The pauses between the deliveries of a message that the function leaves on its queue.
      component == "confirmation" ? { RECEIVE_DELAYS_SECONDS = join(",", local.durations.receive_delays) } : {},
      # The workers' subnets have no way to a collector.
      var.otel_exporter_otlp_endpoint == null ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT = var.otel_exporter_otlp_endpoint },
      var.otel_exporter_otlp_headers == null ? {} : { OTEL_EXPORTER_OTLP_HEADERS = var.otel_exporter_otlp_headers },
    )
  }
}
