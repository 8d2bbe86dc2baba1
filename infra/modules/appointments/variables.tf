variable "table" {
  description = "The table of appointments: its keys, its index of undecided commands, and the attribute with an item's expiry."
  type = object({
    name                   = string
    billing_mode           = string
    partition_key          = object({ name = string, type = string })
    sort_key               = object({ name = string, type = string })
    time_to_live_attribute = string
    index = object({
      name                 = string
      partition_key        = object({ name = string, type = string })
      sort_key             = object({ name = string, type = string })
      projected_attributes = list(string)
    })
  })
}

variable "slots_table" {
  description = "The table of slots: its key, and its sparse indexes of free slots, by name."
  type = object({
    name                   = string
    billing_mode           = string
    partition_key          = object({ name = string, type = string })
    time_to_live_attribute = string
    indexes = object({
      sort_key       = object({ name = string, type = string })
      partition_keys = map(object({ name = string, type = string }))
    })
  })
}

variable "topic_name" {
  description = "Name of the topic of requests and cancellations."
  type        = string
}

variable "confirmation_queue" {
  description = "The queue between the bus and the confirmation component, and its dead-letter queues: for messages that were received too often, and for events that EventBridge could not deliver."
  type = object({
    name                       = string
    dead_letter_queue          = string
    delivery_dead_letter_queue = string
    max_receive_count          = number
  })
}

variable "slots_queue" {
  description = "The queue of slots that changed without a command, beside the confirmation queue, and its dead-letter queues."
  type = object({
    name                       = string
    dead_letter_queue          = string
    delivery_dead_letter_queue = string
    max_receive_count          = number
  })
}

variable "bus" {
  description = "The bus, its archive, and the rules `outcomes`, which feeds the confirmation queue, and `slots`, which feeds the slots queue."
  type = object({
    name    = string
    archive = string
    rules = map(object({
      name          = string
      event_pattern = map(list(string))
    }))
  })

  validation {
    condition     = toset(keys(var.bus.rules)) == toset(["outcomes", "slots"])
    error_message = "bus.rules must have exactly the keys outcomes and slots."
  }
  validation {
    condition     = length(setintersection(try(var.bus.rules["outcomes"].event_pattern["detail-type"], ["every"]), try(var.bus.rules["slots"].event_pattern["detail-type"], ["every"]))) == 0
    error_message = "bus.rules: each rule must name its detail-types, and no two the same one: an event would be in both queues."
  }
}

variable "confirmation_event_source" {
  description = "Source of the events that the confirmation component publishes on the bus."
  type        = string

  validation {
    condition     = alltrue([for rule in var.bus.rules : !contains(try(rule.event_pattern.source, [var.confirmation_event_source]), var.confirmation_event_source)])
    error_message = "A rule must name its sources, and the confirmation component's own must not be among them: each event would cause the next one."
  }
}

variable "durations" {
  description = "Durations in seconds."
  type = object({
    visibility_timeout        = number
    receive_delays            = list(number)
    queue_retention           = number
    dead_letter_retention     = number
    confirmation_receive_wait = number
    archive_retention         = number
  })
}

variable "tables" {
  description = <<-EOT
    The tables, of which the last one serves. `suffix` is appended to the name. `restore` makes the table from another one's backups, as of
    `time` (RFC 3339) or, without it, as of now; the earlier table stays in the list until it is no longer needed.
  EOT
  type = list(object({
    suffix              = optional(string, "")
    deletion_protection = optional(bool)
    restore             = optional(object({ source_name = string, time = optional(string) }))
  }))
  default = [{}]

  validation {
    condition     = length(var.tables) > 0 && length(distinct(var.tables[*].suffix)) == length(var.tables)
    error_message = "tables must not be empty, and each table needs its own suffix."
  }
  validation {
    condition     = alltrue([for table in var.tables : can(regex("^(-[a-z0-9-]{1,30})?$", table.suffix))])
    error_message = "tables: a suffix is a hyphen with lower-case letters and digits, such as -20261125, or empty."
  }
  validation {
    condition     = alltrue([for table in var.tables : can(timeadd(table.restore.time, "0s")) || try(table.restore.time, null) == null])
    error_message = "tables: restore.time must be an RFC 3339 time, such as 2026-11-25T10:00:00Z."
  }
}

variable "deletion_protection" {
  description = "Whether a table is protected against deletion, unless its own setting differs."
  type        = bool
  default     = true
}

variable "keys_deletable" {
  description = "Whether the keys may be deleted. What they encrypt, backups included, is lost with them."
  type        = bool
  default     = false
}
