variable "application_url" {
  description = "HTTPS URL of the Spin application, without a path, such as https://appointments.example.org. Its certificate must be publicly trusted: EventBridge and API Gateway verify it."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.application_url))
    error_message = "application_url must be an https URL without a path or a final slash, such as https://appointments.example.org."
  }
}

variable "internal_api_key" {
  description = <<-EOT
    Key that AWS sends to the application's internal routes. To rotate it without one refused call: put the new key in
    internal_api_key_previous, and the application takes either (restart it with the new output); then make the new key
    internal_api_key and the old one internal_api_key_previous; then remove the old one.
  EOT
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[!-~]{32,512}$", var.internal_api_key))
    error_message = "internal_api_key must be 32 to 512 printable ASCII characters without spaces, such as from `openssl rand -hex 32`."
  }
}

variable "internal_api_key_previous" {
  description = "Second key that the application takes, while internal_api_key is rotated; null at other times."
  type        = string
  sensitive   = true
  default     = null

  validation {
    condition     = var.internal_api_key_previous == null || can(regex("^[!-~]{32,512}$", var.internal_api_key_previous))
    error_message = "internal_api_key_previous must be null, or 32 to 512 printable ASCII characters without spaces."
  }
}

variable "authentication" {
  description = <<-EOT
    Whose tokens open the booking API: the issuer and the audience that a token names, and the issuer's public keys, its JWKS document
    with ES256 (P-256) or EdDSA (Ed25519) keys. `insured_id_claim` is the claim with the five digits of the insured person, `staff_scope`
    the scope with which staff act for others. New keys of the issuer reach the application with its new environment and a restart.
  EOT
  type = object({
    issuer           = string
    audience         = string
    keys             = string
    insured_id_claim = optional(string, "sub")
    staff_scope      = optional(string, "appointments:staff")
  })

  validation {
    condition     = startswith(var.authentication.issuer, "https://") && length(var.authentication.audience) > 0
    error_message = "authentication.issuer must be an https URL, and authentication.audience must not be empty."
  }
  validation {
    condition = try(anytrue([
      for key in jsondecode(var.authentication.keys).keys : contains(["P-256", "Ed25519"], try(key.crv, ""))
    ]), false)
    error_message = "authentication.keys must be a JWKS document, {\"keys\": [...]}, with a key on P-256 (ES256) or Ed25519 (EdDSA): intake verifies no other."
  }
  validation {
    condition     = !strcontains(var.authentication.keys, "\"d\"")
    error_message = "authentication.keys must hold public keys alone: a member \"d\" is a private key."
  }
  validation {
    condition     = length(var.authentication.insured_id_claim) > 0 && can(regex("^[!-~]+$", var.authentication.staff_scope))
    error_message = "authentication.insured_id_claim must not be empty, and authentication.staff_scope must be one scope without spaces."
  }
}

variable "component_trust" {
  description = <<-EOT
    How the host of the application gets the components' rights: `oidc` (the ARN of an IAM OIDC provider, the audience, the
    exact subjects), `services` (AWS services that run it), or `iam_users`, which creates users with long-lived access keys
    for hosts that can do neither; the keys are outputs, and stand in the state. `iam_user_keys` labels each user's keys, the
    newest last: docs/deploy.md rotates them by it.
  EOT
  type = object({
    oidc = optional(object({
      provider_arn = string
      audience     = string
      subjects     = list(string)
    }))
    services      = optional(set(string), [])
    iam_users     = optional(bool, false)
    iam_user_keys = optional(list(string), ["first"])
  })
  default = { services = ["ecs-tasks.amazonaws.com"] }

  validation {
    condition     = contains([1, 2], length(var.component_trust.iam_user_keys))
    error_message = "component_trust.iam_user_keys must be one or two labels: IAM gives a user two keys at most."
  }
}

variable "countries" {
  description = "Countries to set up, by ISO 3166-1 alpha-2 code; null takes all those of backplane.json."
  type        = set(string)
  default     = null

  validation {
    condition     = var.countries == null || try(length(var.countries) > 0 && length(setsubtract(var.countries, jsondecode(file("${path.module}/backplane.json")).countries)) == 0, false)
    error_message = "countries must be countries of backplane.json, in upper case; a further one is added there first."
  }
}

variable "packages" {
  description = "The workers' zips: the folder in which each is named like its function (appointment-pe.zip), and the instruction set for which they were built, arm64 or x86_64."
  type = object({
    directory    = string
    architecture = optional(string, "arm64")
  })
}

variable "database" {
  description = "The database on RDS that each country gets. Storage is in GiB and grows by itself up to the maximum."
  type = object({
    engine_version            = optional(string, "17")
    instance_class            = optional(string, "db.t4g.small")
    allocated_storage_gib     = optional(number, 20)
    max_allocated_storage_gib = optional(number, 200)
    multi_az                  = optional(bool, true)
    backup_retention_days     = optional(number, 14)
  })
  default = {}
}

variable "database_overrides" {
  description = "What differs from var.database for a country, by its code."
  type = map(object({
    engine_version            = optional(string)
    instance_class            = optional(string)
    allocated_storage_gib     = optional(number)
    max_allocated_storage_gib = optional(number)
    multi_az                  = optional(bool)
    backup_retention_days     = optional(number)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.database_overrides), jsondecode(file("${path.module}/backplane.json")).countries)) == 0
    error_message = "database_overrides must be keyed by countries of backplane.json, in upper case."
  }
}

variable "deletion_protection" {
  description = "Whether table and databases are protected against deletion, and the databases leave a final snapshot."
  type        = bool
  default     = true
}

variable "network" {
  description = "The VPC of functions and databases: its private IPv4 range, from /16 to /24, and in how many availability zones it has a subnet."
  type = object({
    cidr                    = optional(string, "10.20.0.0/20")
    availability_zone_count = optional(number, 2)
  })
  default = {}
}

variable "worker_maximum_concurrency" {
  description = "How many batches a country's worker works on at once; each one takes a database connection."
  type        = number
  default     = 20
}

variable "confirmation_rate_limit" {
  description = "Requests a second that the pipe sends to the application at most."
  type        = number
  default     = 300
}

variable "api" {
  description = <<-EOT
    API Gateway in front of the application: throttling of each route, an RS256 issuer whose tokens the gateway verifies too (leave it
    null: the application verifies tokens in every case, and knows ES256 and EdDSA only, docs/adr/0020-bearer-tokens.md), and a domain name with its ACM certificate.
  EOT
  type = object({
    throttling = optional(object({ rate_per_second = number, burst = number }), { rate_per_second = 200, burst = 400 })
    jwt        = optional(object({ issuer = string, audience = list(string), algorithm = string }))
    domain     = optional(object({ name = string, certificate_arn = string }))
  })
  default = {}
}

variable "log_retention_days" {
  description = "How long log groups keep their lines, in days."
  type        = number
  default     = 365
}

variable "alarm_actions" {
  description = "ARNs of what alarms tell: an SNS topic, as a rule."
  type        = set(string)
  default     = []
}
