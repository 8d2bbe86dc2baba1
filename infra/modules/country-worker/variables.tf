variable "country" {
  description = "ISO 3166-1 alpha-2 code, upper case."
  type        = string

  validation {
    condition     = can(regex("^[A-Z]{2}$", var.country))
    error_message = "country must be an ISO 3166-1 alpha-2 code in upper case, such as PE."
  }
}

variable "name_prefix" {
  description = "Prefix of the databases' identifiers; the other names are given whole."
  type        = string
  default     = ""
}

variable "topic_arn" {
  description = "ARN of the topic of requests and cancellations."
  type        = string
}

variable "bus_name" {
  description = "Name of the bus to which the worker sends its outcomes."
  type        = string
}

variable "queue" {
  description = "The country's queue, its dead-letter queues (received too often; not delivered by SNS), and its subscription to the topic."
  type = object({
    name                       = string
    dead_letter_queue          = string
    delivery_dead_letter_queue = string
    max_receive_count          = number
    subscription = object({
      raw_message_delivery = bool
      filter_policy        = map(list(string))
    })
  })
}

variable "worker" {
  description = "The worker function, the migration function from the same zip, and how the worker consumes its queue."
  type = object({
    function                = string
    migration_function      = string
    batch_size              = number
    function_response_types = set(string)
  })
}

variable "importer" {
  description = "The function that imports slots, from the same zip, and the rule by which it puts the events of the country's outbox on the bus."
  type = object({
    function   = string
    drain_rule = string
  })
}

variable "slots_bucket" {
  description = "The bucket of files of slots: its name, and the key prefixes of files and of reports."
  type = object({
    name    = string
    files   = string
    reports = string
  })

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.slots_bucket.name))
    error_message = "slots_bucket.name must be 3 to 63 lower-case letters, digits and hyphens (Amazon S3)."
  }
  validation {
    condition     = alltrue([for prefix in [var.slots_bucket.files, var.slots_bucket.reports] : can(regex("^[a-z]+/$", prefix))]) && var.slots_bucket.files != var.slots_bucket.reports
    error_message = "slots_bucket: files and reports must be two different prefixes, such as slots/: a report that is taken for a file would be imported."
  }
}

variable "catalogue" {
  description = "Where the country's slots come from: `own` (imported, and known to its database) or `external` (any number is booked). `max_open_bookings` is how many bookings that have not ended a person may have; it applies with `own`."
  type = object({
    kind              = string
    max_open_bookings = number
  })

  validation {
    condition     = contains(["own", "external"], var.catalogue.kind) && var.catalogue.max_open_bookings >= 1 && var.catalogue.max_open_bookings <= 65535
    error_message = "catalogue.kind must be own or external, and catalogue.max_open_bookings from 1 to 65535."
  }
}

variable "durations" {
  description = "Durations in seconds."
  type = object({
    visibility_timeout    = number
    receive_delays        = list(number)
    worker_timeout        = number
    migration_timeout     = number
    import_timeout        = number
    drain_interval        = number
    slots_file_retention  = number
    batching_window       = number
    queue_retention       = number
    dead_letter_retention = number
  })
}

variable "roles" {
  description = <<-EOT
    Execution roles of the functions `worker`, `migration` and `importer`, and all that they may do. A statement's resource is an ARN, or
    one of this module's own by its logical name in backplane.json: `country_queue`, `worker_log_group`, `migration_log_group`,
    `importer_log_group`, `worker_database_user`, `importer_database_user`, `database_master_secret`, `slots_files`, `slots_reports`.
  EOT
  type = map(object({
    name = string
    statements = list(object({
      sid       = string
      actions   = list(string)
      resources = list(string)
      condition = optional(map(map(list(string))))
    }))
  }))

  validation {
    condition     = toset(keys(var.roles)) == toset(["worker", "migration", "importer"])
    error_message = "roles must have exactly the keys worker, migration and importer."
  }
  validation {
    condition = alltrue(flatten([for role in var.roles : [for statement in role.statements : [
      for resource in statement.resources : resource == "*" || startswith(resource, "arn:") || contains([
        "country_queue", "worker_log_group", "migration_log_group", "importer_log_group", "worker_database_user", "importer_database_user",
        "database_master_secret", "slots_files", "slots_reports",
      ], resource)
    ]]]))
    error_message = "roles: a statement names a resource that is neither an ARN nor one of this module's own."
  }
}

variable "log_groups" {
  description = "Names of the log groups of the functions `worker`, `migration` and `importer`."
  type        = map(string)
}

variable "database_log_groups" {
  description = "ARNs of the log groups of the database; otherwise RDS would create them, without encryption and retention."
  type        = list(string)
  default     = []
}

variable "package" {
  description = "Path of the zip with the executable `bootstrap`. Beside it, a file with the ending `.architecture` holds the architecture for which it was built."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip")
    error_message = "package must be the path of a .zip file."
  }
}

variable "architecture" {
  description = "Instruction set of the functions: `arm64` or `x86_64`."
  type        = string

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "alias" {
  description = "Name of the alias by which the queue calls the worker, and bucket and schedule the importer."
  type        = string
}

variable "memory_size" {
  description = "Memory of the functions, in MiB."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240
    error_message = "memory_size must be from 128 to 10240 MiB."
  }
}

variable "maximum_concurrency" {
  description = "How many batches are processed at once; each uses a database connection."
  type        = number
  default     = 20

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency must be from 2 to 1000 (AWS Lambda's limits for SQS)."
  }
}

variable "reserved_concurrency" {
  description = "The part of the account's concurrency that is reserved for the worker, which is also its limit; null reserves nothing. It must be above maximum_concurrency."
  type        = number
  default     = null
}

variable "paused" {
  description = "Whether the worker takes no message and the importer no file, while their database is restored."
  type        = bool
  default     = false
}

variable "keys_deletable" {
  description = "Whether the keys may be deleted. What they encrypt, snapshots and backups included, is lost with them."
  type        = bool
  default     = false
}

variable "network" {
  description = "The network of functions and database."
  type = object({
    vpc_id                      = string
    private_subnet_ids          = list(string)
    endpoints_security_group_id = string
    s3_prefix_list_id           = string
  })
}

variable "database" {
  description = <<-EOT
    The country's database on RDS, and the users as which `worker` and `importer` connect to it with IAM tokens. Of `instances` the last one serves;
    `suffix` is appended to the identifier. `snapshot_identifier` makes it from a snapshot; `point_in_time` from the backups of another
    instance, or from those that a deleted one left (`source_automated_backups_arn`), as of `time` (RFC 3339) or, without it, as of the
    latest that there is. The earlier instance stays in the list until it is no longer needed.
  EOT
  type = object({
    name                        = string
    users                       = object({ worker = string, importer = string })
    engine_version              = string
    instance_class              = string
    allocated_storage_gib       = number
    max_allocated_storage_gib   = number
    multi_az                    = bool
    backup_retention_days       = number
    deletion_protection         = bool
    final_snapshot              = bool
    apply_immediately           = bool
    allow_major_version_upgrade = bool
    instances = list(object({
      suffix              = optional(string, "")
      deletion_protection = optional(bool)
      snapshot_identifier = optional(string)
      point_in_time = optional(object({
        source_identifier            = optional(string)
        source_automated_backups_arn = optional(string)
        time                         = optional(string)
      }))
    }))
  })

  validation {
    condition     = var.database.backup_retention_days >= 1 && var.database.backup_retention_days <= 35
    error_message = "database.backup_retention_days must be from 1 to 35 (RDS); without backups nothing can be recovered."
  }
  validation {
    condition     = var.database.max_allocated_storage_gib >= var.database.allocated_storage_gib && var.database.allocated_storage_gib >= 20
    error_message = "database.allocated_storage_gib must be at least 20, and max_allocated_storage_gib at least that."
  }
  validation {
    condition     = can(regex("^[0-9]+(\\.[0-9]+)?$", var.database.engine_version))
    error_message = "database.engine_version must be a version of PostgreSQL, such as 17, or 17.6."
  }
  validation {
    condition     = length(var.database.instances) > 0 && length(distinct(var.database.instances[*].suffix)) == length(var.database.instances)
    error_message = "database.instances must not be empty, and each instance needs its own suffix."
  }
  validation {
    condition     = alltrue([for instance in var.database.instances : can(regex("^(-[a-z0-9]{1,20})?$", instance.suffix))])
    error_message = "database.instances: a suffix is a hyphen with lower-case letters and digits, such as -20261125, or empty."
  }
  validation {
    condition = alltrue([
      for instance in var.database.instances : length([
        for source in [instance.snapshot_identifier, try(instance.point_in_time.source_identifier, null), try(instance.point_in_time.source_automated_backups_arn, null)] :
        source if source != null
      ]) == (instance.snapshot_identifier == null && instance.point_in_time == null ? 0 : 1)
    ])
    error_message = "database.instances: an instance is restored from one source: snapshot_identifier, point_in_time.source_identifier or point_in_time.source_automated_backups_arn."
  }
}
