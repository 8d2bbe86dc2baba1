variable "alias" {
  description = "Alias of the key, without `alias/`."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9/_-]{1,250}$", var.alias)) && !startswith(var.alias, "aws/")
    error_message = "alias must consist of letters, digits, /, _ and -, and must not begin with aws/, which AWS reserves."
  }
}

variable "description" {
  description = "What the key encrypts."
  type        = string
}

variable "services" {
  description = "AWS services, by the first label of their endpoint (`sqs`), through which principals with an IAM permission may use the key."
  type        = set(string)
}

variable "service_uses" {
  description = <<-EOT
    Uses by AWS services on their own behalf. SNS and EventBridge deliver to an encrypted queue as themselves: without such a
    statement they drop the message and tell nobody. `condition` must tie the use to one source (`aws:SourceArn`).
  EOT
  type = list(object({
    sid       = string
    service   = string
    actions   = list(string)
    condition = map(map(list(string)))
  }))
  default = []

  validation {
    condition     = alltrue([for use in var.service_uses : length(use.condition) > 0])
    error_message = "Each of service_uses needs a condition: otherwise the service could use the key for somebody else's resource."
  }
}

variable "deletable" {
  description = "Whether the key may be deleted at all. What it encrypts, backups and snapshots included, is lost with it."
  type        = bool
  default     = false
}
