locals {
  databases = { for country in local.countries : country => merge(
    var.database,
    { for setting, value in try(var.database_overrides[country], {}) : setting => value if value != null && setting != "instances" },
    {
      name      = local.per_country[country].worker.database
      users     = { worker = local.per_country[country].worker.database_user, importer = local.per_country[country].importer.database_user }
      instances = try(var.database_overrides[country].instances, [{ suffix = "" }])
    },
  ) }

  # An instance that is kept still writes its logs.
  database_identifiers = { for country, database in local.databases : country => [
    for instance in database.instances : "${replace("${var.name_prefix}${database.name}", "_", "-")}${instance.suffix}"
  ] }

  function_log_groups = merge(
    { for component in ["intake", "booking_page", "confirmation"] : component => "/aws/lambda/${local.backplane[component].function}" },
    [
      for country in local.countries : {
        "worker-${country}"    = "/aws/lambda/${local.per_country[country].worker.function}"
        "migration-${country}" = "/aws/lambda/${local.per_country[country].worker.migration_function}"
        "importer-${country}"  = "/aws/lambda/${local.per_country[country].importer.function}"
      }
    ]...
  )

  database_log_groups = merge([
    for identifier in flatten(values(local.database_identifiers)) : {
      for log in ["postgresql", "upgrade"] : "${identifier}-${log}" => "/aws/rds/instance/${identifier}/${log}"
    }
  ]...)

  reserved_concurrency = { for name, function in var.functions : name => function.reserved_concurrency == -1 ? null : function.reserved_concurrency }
}

module "network" {
  source = "./modules/network"

  name                    = local.backplane.table.name
  cidr                    = var.network.cidr
  availability_zone_count = var.network.availability_zone_count

  # The services that the countries' functions call from the VPC. The event source mapping and the logs do not go through it.
  s3 = {
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = [for names in local.per_country : "arn:${local.partition}:s3:::${names.slots_bucket.name}/*"]
  }
  endpoints = {
    events = {
      actions   = ["events:PutEvents"]
      resources = [module.appointments.bus.arn]
    }
    secretsmanager = {
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:rds!db-*"]
    }
    # A worker sets when a message that it leaves on its queue is delivered again.
    sqs = {
      actions   = ["sqs:ChangeMessageVisibility"]
      resources = [for names in local.per_country : "arn:${local.partition}:sqs:${local.region}:${local.account}:${names.country_queue.name}"]
    }
  }
}

module "appointments" {
  source = "./modules/appointments"

  table                     = local.backplane.table
  slots_table               = local.backplane.slots_table
  tables                    = var.tables
  topic_name                = local.backplane.topic.name
  confirmation_queue        = local.backplane.confirmation_queue
  slots_queue               = local.backplane.slots_queue
  bus                       = merge(local.backplane.bus, { rules = { for key, rule in local.backplane.bus.rules : key => { name = rule.name, event_pattern = local.event_patterns[key] } } })
  confirmation_event_source = local.backplane.confirmation.event_source
  durations                 = local.durations
  deletion_protection       = var.table_deletion_protection
  keys_deletable            = var.keys_deletable
}

module "country_worker" {
  source   = "./modules/country-worker"
  for_each = local.countries

  name_prefix          = var.name_prefix
  country              = each.key
  topic_arn            = module.appointments.topic.arn
  bus_name             = module.appointments.bus.name
  queue                = local.per_country[each.key].country_queue
  worker               = local.per_country[each.key].worker
  importer             = local.per_country[each.key].importer
  slots_bucket         = local.per_country[each.key].slots_bucket
  catalogue            = local.catalogues[each.key]
  durations            = local.durations
  roles                = local.country_roles[each.key]
  alias                = local.backplane.function_alias
  package              = "${var.packages.directory}/${local.packages[each.key]}.zip"
  architecture         = var.packages.architecture
  memory_size          = var.functions.worker.memory_mib
  reserved_concurrency = local.reserved_concurrency.worker
  maximum_concurrency  = var.functions.worker.maximum_concurrency
  paused               = contains(var.paused, each.key)
  network              = module.network
  database             = local.databases[each.key]
  keys_deletable       = var.keys_deletable

  log_groups = {
    for function in ["worker", "migration", "importer"] : function => module.observability.log_groups["${function}-${each.key}"].name
  }
  database_log_groups = flatten([
    for identifier in local.database_identifiers[each.key] : [
      for log in ["postgresql", "upgrade"] : module.observability.log_groups["${identifier}-${log}"].arn
    ]
  ])
}

module "application" {
  source = "./modules/application"

  package      = "${var.packages.directory}/${local.packages.application}.zip"
  architecture = var.packages.architecture
  alias        = local.backplane.function_alias
  log_groups   = { for component in ["intake", "booking_page", "confirmation"] : component => module.observability.log_groups[component].name }

  functions = {
    for component, description in { intake = "The public booking API", booking_page = "The page on which people book", confirmation = "Applies the countries' outcomes, and republishes undecided commands" } : component => {
      name                                 = local.backplane[component].function
      description                          = description
      policy                               = local.policies[component]
      environment                          = local.environments[component]
      memory_mib                           = var.functions[component].memory_mib
      timeout_seconds                      = local.durations["${component}_timeout"]
      reserved_concurrency                 = local.reserved_concurrency[component]
      paused                               = contains(var.paused, component)
    }
  }

  queues = {
    for queue, maximum_concurrency in {
      outcomes = coalesce(var.functions.confirmation.maximum_concurrency, local.backplane.confirmation.maximum_concurrency)
      slots    = coalesce(var.functions.confirmation.slots_maximum_concurrency, local.backplane.confirmation.slots_maximum_concurrency)
      } : queue => {
      arn                     = module.appointments.queues[queue].queue.arn
      visibility_timeout      = local.durations.visibility_timeout
      batch_size              = local.backplane.confirmation.batch_size
      batching_window         = local.durations.batching_window
      function_response_types = local.backplane.confirmation.function_response_types
      maximum_concurrency     = maximum_concurrency
    }
  }

  republish = {
    interval_seconds = local.durations.republish_interval
    countries = {
      for country in local.countries : country => {
        rule  = local.per_country[country].confirmation.republish.rule
        input = jsonencode(local.per_country[country].confirmation.republish.input)
      }
    }
  }

  # Every country can read a command of a new type before the API writes one, and a new country has its queue by then.
  serve_after = [for worker in module.country_worker : [worker.alias.function_version, worker.subscription.arn]]
}

module "edge_identity" {
  source = "./modules/edge-identity"
  count  = length(var.edge_access_keys) == 0 ? 0 : 1

  name        = local.backplane.principals.edge.name
  policy      = local.policies["edge"]
  access_keys = var.edge_access_keys
}

module "api_gateway" {
  source = "./modules/api-gateway"

  name                 = local.backplane.api.name
  application_url      = var.application_url
  throttling           = var.api.throttling
  route_throttling     = var.api.route_throttling
  detailed_metrics     = var.api.detailed_metrics
  jwt                  = var.api.jwt
  domain               = var.api.domain
  access_log_group_arn = module.observability.log_groups["api"].arn

  function = {
    name       = module.application.functions["intake"].function_name
    alias      = module.application.aliases["intake"].name
    invoke_arn = module.application.aliases["intake"].invoke_arn
  }

  page = {
    paths = local.backplane.booking_page.paths
    function = {
      name       = module.application.functions["booking_page"].function_name
      alias      = module.application.aliases["booking_page"].name
      invoke_arn = module.application.aliases["booking_page"].invoke_arn
    }
  }
}

module "observability" {
  source = "./modules/observability"

  name                = local.backplane.table.name
  log_retention_days  = var.log_retention_days
  alarm_actions       = var.alarm_actions
  message_age_seconds = local.durations.visibility_timeout + local.durations.worker_timeout
  keys_deletable      = var.keys_deletable

  log_groups = merge(local.function_log_groups, local.database_log_groups, { api = "/aws/vendedlogs/apigateway/${local.backplane.api.name}" })

  queues = concat([local.backplane.confirmation_queue.name, local.backplane.slots_queue.name], [for names in local.per_country : names.country_queue.name])
  dead_letter_queues = concat(
    flatten([for queue in [local.backplane.confirmation_queue, local.backplane.slots_queue] : [queue.dead_letter_queue, queue.delivery_dead_letter_queue]]),
    flatten([for names in local.per_country : [names.country_queue.dead_letter_queue, names.country_queue.delivery_dead_letter_queue]]),
  )
  functions = concat(
    [local.backplane.intake.function, local.backplane.booking_page.function, local.backplane.confirmation.function],
    flatten([for names in local.per_country : [names.worker.function, names.worker.migration_function, names.importer.function]]),
  )
  asynchronous_functions     = concat([local.backplane.confirmation.function], [for names in local.per_country : names.importer.function])
  worker_maximum_concurrency = var.functions.worker.maximum_concurrency
  databases                  = flatten(values(local.database_identifiers))
  rules = merge(
    { for rule in local.backplane.bus.rules : rule.name => { EventBusName = local.backplane.bus.name, RuleName = rule.name } },
    { for names in local.per_country : names.confirmation.republish.rule => { RuleName = names.confirmation.republish.rule } },
    { for names in local.per_country : names.importer.drain_rule => { RuleName = names.importer.drain_rule } },
  )
  api = { name = local.backplane.api.name, id = module.api_gateway.id }

  log_values = { "${local.backplane.confirmation.function}-oldest-due" = local.oldest_due }
  error_lines = merge(
    {
      for component in ["intake", "booking_page", "confirmation"] : local.backplane[component].function => {
        log_group = component
        messages  = local.error_messages[component]
      }
    },
    { for country, names in local.per_country : names.worker.function => { log_group = "worker-${country}", messages = {} } },
    { for country, names in local.per_country : names.importer.function => { log_group = "importer-${country}", messages = {} } },
  )
}

locals {
  # The republisher's log line says how long the oldest command has been due. Ten minutes are enough for 60,000 rows of a country.
  oldest_due = {
    log_group   = "confirmation"
    field       = "oldest_due_seconds"
    threshold   = 10 * 60
    description = "A command that is to be published again has been due for more than ten minutes: the republishing does not keep up, or does not run"
  }

  # Lines of level ERROR with a separate alarm, by the reason in its name; docs/failures.md says what to do about each.
  error_messages = {
    intake       = {}
    booking_page = {}
    confirmation = {
      decided-twice         = "a country decided twice: the first decision is kept"
      cancellation-failed   = "a cancellation could not be processed: an operator has to look"
      request-given-up      = "request given up: its country sent no outcome"
      cancellation-given-up = "cancellation given up: its country sent no outcome"
      # Values of a later version, after a rollback: they stay as they are.
      unknown-status = "the appointment has a status of a later version: the outcome changes nothing"
      unknown-reason = "outcome applied, with a reason of a later version"
      unknown-row    = "undecided commands published again"
    }
  }
}
