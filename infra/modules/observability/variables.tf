variable "name" {
  description = "Name of the dashboard and of the metrics' namespace, and prefix of the key's alias."
  type        = string
}

variable "log_groups" {
  description = "Names of the log groups, by a logical name."
  type        = map(string)
}

variable "log_retention_days" {
  description = "How long the log groups keep their lines, in days. They hold identifiers of appointments and no personal data."
  type        = number
  default     = 365

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_retention_days)
    error_message = "log_retention_days must be one of CloudWatch's: 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096 or 1827."
  }
}

variable "alarm_actions" {
  description = "ARNs of the actions when an alarm begins and when it ends, usually an SNS topic. Without any, alarms are only visible in CloudWatch."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for action in var.alarm_actions : startswith(action, "arn:")])
    error_message = "alarm_actions must be ARNs."
  }
}

variable "queues" {
  description = "Names of the queues whose oldest message must not grow old."
  type        = set(string)
}

variable "message_age_seconds" {
  description = "How old the oldest message of a queue may be, in seconds: one failed attempt and its repetition must not raise an alarm."
  type        = number

  validation {
    condition     = var.message_age_seconds >= 60
    error_message = "message_age_seconds must be at least 60."
  }
}

variable "dead_letter_queues" {
  description = "Names of the queues that must be empty."
  type        = set(string)
}

variable "functions" {
  description = "Names of the Lambda functions."
  type        = set(string)
}

variable "worker_maximum_concurrency" {
  description = "How many batches a worker processes at once, each with a database connection."
  type        = number
}

variable "databases" {
  description = "Identifiers of the RDS instances."
  type        = set(string)
}

variable "asynchronous_functions" {
  description = "Names of the functions that a schedule calls."
  type        = set(string)
}

variable "error_lines" {
  description = <<-EOT
    For each function, by its name: the logical name of its log group, and the messages of ERROR lines that get a separate alarm, by
    the reason that is in the alarm's name. All other lines of level ERROR share one alarm.
  EOT
  type = map(object({
    log_group = string
    messages  = map(string)
  }))

  validation {
    condition = alltrue(flatten([
      for source in var.error_lines : [for message in values(source.messages) : can(regex("^[^\"*\\\\]+$", message))]
    ]))
    error_message = "error_lines: a message must not hold quotation marks, backslashes or asterisks."
  }
}

variable "log_values" {
  description = "Numbers in log lines that must not grow large, by the name of metric and alarm: the log group's logical name, the field, and the threshold."
  type = map(object({
    log_group   = string
    field       = string
    threshold   = number
    description = string
  }))
  default = {}
}

variable "rules" {
  description = "EventBridge rules by name, each with the dimensions of its metrics: RuleName, and EventBusName but for the default bus."
  type        = map(map(string))
}

variable "api" {
  description = "Name and ID of the HTTP API."
  type        = object({ name = string, id = string })
}

variable "keys_deletable" {
  description = "Whether the key of the log groups may be deleted. Their lines are lost with it."
  type        = bool
  default     = false
}
