locals {
  api_name = "${local.backplane.table.name}-api"

  database_identifiers = { for country in local.countries : country => replace(local.per_country[country].worker.database, "_", "-") }

  country_log_groups = merge([
    for country in local.countries : {
      "worker-${country}"              = "/aws/lambda/${local.per_country[country].worker.function}"
      "migration-${country}"           = "/aws/lambda/${local.per_country[country].worker.migration_function}"
      "database-${country}-postgresql" = "/aws/rds/instance/${local.database_identifiers[country]}/postgresql"
      "database-${country}-upgrade"    = "/aws/rds/instance/${local.database_identifiers[country]}/upgrade"
    }
  ]...)
}

module "network" {
  source = "./modules/network"

  name                    = local.backplane.table.name
  cidr                    = var.network.cidr
  availability_zone_count = var.network.availability_zone_count

  # What the functions call from inside; the event source mapping and the logs do not go through the VPC.
  endpoints = {
    events = {
      actions   = ["events:PutEvents"]
      resources = [module.appointments.bus.arn]
    }
    secretsmanager = {
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:rds!db-*"]
    }
  }
}

module "appointments" {
  source = "./modules/appointments"

  table                   = local.backplane.table
  topic_name              = local.backplane.topic.name
  confirmation_queue      = local.backplane.confirmation_queue
  bus                     = merge(local.backplane.bus, { rule = { name = local.backplane.bus.rule.name, event_pattern = local.event_pattern } })
  confirmation            = local.backplane.confirmation
  durations               = local.durations
  republish_targets       = { for country in local.countries : country => local.per_country[country].confirmation.republish.name }
  application_url         = var.application_url
  internal_api_key        = var.internal_api_key
  confirmation_rate_limit = var.confirmation_rate_limit
  pipe_log_group_arn      = module.observability.log_groups["pipe"].arn
  deletion_protection     = var.deletion_protection

  service_roles = {
    for name, principal in local.backplane.principals : name => {
      name    = principal.name
      service = principal.service
      policy  = local.policies[name]
    } if principal.kind == "service"
  }
}

module "country_worker" {
  source   = "./modules/country-worker"
  for_each = local.countries

  country             = each.key
  topic_arn           = module.appointments.topic.arn
  bus_name            = module.appointments.bus.name
  queue               = local.per_country[each.key].country_queue
  worker              = local.per_country[each.key].worker
  durations           = local.durations
  roles               = local.country_roles[each.key]
  package             = "${var.packages.directory}/${local.per_country[each.key].worker.function}.zip"
  architecture        = var.packages.architecture
  maximum_concurrency = var.worker_maximum_concurrency
  network             = module.network

  log_groups = {
    for function in ["worker", "migration"] : function => module.observability.log_groups["${function}-${each.key}"].name
  }
  database_log_groups = [
    for log in ["postgresql", "upgrade"] : module.observability.log_groups["database-${each.key}-${log}"].arn
  ]

  database = merge(
    var.database,
    { for setting, value in try(var.database_overrides[each.key], {}) : setting => value if value != null },
    {
      name                = local.per_country[each.key].worker.database
      user                = local.per_country[each.key].worker.database_user
      deletion_protection = var.deletion_protection
    },
  )
}

module "edge_identity" {
  source = "./modules/edge-identity"

  trust = var.component_trust
  host = {
    name   = local.backplane.principals.host.name
    policy = local.policies["host"]
  }
  components = {
    for name, principal in local.backplane.principals : name => {
      name   = principal.name
      policy = local.policies[name]
    } if principal.kind == "component"
  }
}

module "api_gateway" {
  source = "./modules/api-gateway"

  name                 = local.api_name
  application_url      = var.application_url
  throttling           = var.api.throttling
  jwt                  = var.api.jwt
  domain               = var.api.domain
  access_log_group_arn = module.observability.log_groups["api"].arn
}

module "observability" {
  source = "./modules/observability"

  name                = local.backplane.table.name
  log_retention_days  = var.log_retention_days
  alarm_actions       = var.alarm_actions
  message_age_seconds = local.durations.visibility_timeout + local.durations.worker_timeout

  log_groups = merge(local.country_log_groups, {
    api  = "/aws/vendedlogs/apigateway/${local.api_name}"
    pipe = "/aws/vendedlogs/pipes/${local.backplane.confirmation.pipe.name}"
  })

  queues = concat([local.backplane.confirmation_queue.name], [for names in local.per_country : names.country_queue.name])
  dead_letter_queues = concat(
    [local.backplane.confirmation_queue.dead_letter_queue, local.backplane.confirmation_queue.delivery_dead_letter_queue],
    flatten([for names in local.per_country : [names.country_queue.dead_letter_queue, names.country_queue.delivery_dead_letter_queue]]),
  )
  functions                  = flatten([for names in local.per_country : [names.worker.function, names.worker.migration_function]])
  worker_maximum_concurrency = var.worker_maximum_concurrency
  databases                  = values(local.database_identifiers)
  pipe = {
    name         = local.backplane.confirmation.pipe.name
    source_queue = local.backplane.confirmation_queue.name
  }
  rules = {
    (local.backplane.bus.rule.name) = {
      EventBusName = local.backplane.bus.name
      RuleName     = local.backplane.bus.rule.name
    }
    (local.backplane.confirmation.republish.rule) = {
      RuleName = local.backplane.confirmation.republish.rule
    }
  }
  api = { name = local.api_name, id = module.api_gateway.id }
}
