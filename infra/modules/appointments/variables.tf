variable "table" {
  description = "The table of appointments: its keys, its index of what waits for an answer, and the attribute with an item's expiry."
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

variable "topic_name" {
  description = "Name of the topic of requests and cancellations."
  type        = string
}

variable "confirmation_queue" {
  description = "The queue between the bus and the confirmation component, and its dead-letter queues: for what was received too often, and for what EventBridge could not deliver."
  type = object({
    name                       = string
    dead_letter_queue          = string
    delivery_dead_letter_queue = string
    max_receive_count          = number
  })
}

variable "bus" {
  description = "The bus, its archive, and the rule that feeds the confirmation queue."
  type = object({
    name    = string
    archive = string
    rule = object({
      name          = string
      event_pattern = map(list(string))
    })
  })
}

variable "confirmation" {
  description = "How the confirmation component is called."
  type = object({
    event_source   = string
    connection     = string
    api_key_header = string
    pipe           = object({ name = string, destination = string, path = string, batch_size = number, input_template = string })
    republish      = object({ rule = string, destination = string, path = string })
  })

  validation {
    condition     = !contains(try(var.bus.rule.event_pattern.source, [var.confirmation.event_source]), var.confirmation.event_source)
    error_message = "The rule must name its sources, and the confirmation component's own must not be among them: each event would cause the next one."
  }
}

variable "durations" {
  description = "Durations in seconds."
  type = object({
    visibility_timeout        = number
    queue_retention           = number
    dead_letter_retention     = number
    confirmation_receive_wait = number
    archive_retention         = number
    republish_interval        = number
  })
}

variable "republish_targets" {
  description = "Target ID of the republish schedule for each country, by ISO 3166-1 alpha-2 code. EventBridge takes five targets a rule."
  type        = map(string)

  validation {
    condition     = length(var.republish_targets) <= 5
    error_message = "An EventBridge rule has at most five targets: a sixth country needs a second rule."
  }
}

variable "service_roles" {
  description = "Roles that AWS services assume: `pipe` and `republisher`, each with its policy as JSON."
  type        = map(object({ name = string, service = string, policy = string }))

  validation {
    condition     = toset(keys(var.service_roles)) == toset(["pipe", "republisher"])
    error_message = "service_roles must have exactly the keys pipe and republisher."
  }
}

variable "application_url" {
  description = "HTTPS URL of the Spin application, without a path."
  type        = string
}

variable "internal_api_key" {
  description = "Key that the pipe and the schedule send to the application's internal routes."
  type        = string
  sensitive   = true
}

variable "confirmation_rate_limit" {
  description = "Requests a second that the pipe sends to the application at most."
  type        = number
  default     = 300

  validation {
    condition     = var.confirmation_rate_limit >= 1 && var.confirmation_rate_limit <= 300
    error_message = "confirmation_rate_limit must be from 1 to 300, which is EventBridge's default quota."
  }
}

variable "pipe_log_group_arn" {
  description = "ARN of the log group for the pipe's errors."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the table is protected against deletion."
  type        = bool
  default     = true
}
