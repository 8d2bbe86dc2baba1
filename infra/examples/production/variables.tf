variable "region" {
  description = "Region of the backplane."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as us-east-1."
  }
}

variable "authentication" {
  description = "Issuer and audience of the callers' tokens, and the issuer's public keys: a JWKS document (`keys`), or its https address (`jwks_url`). The module's variable `authentication` describes the other fields, such as `page`."
  type        = any # As the module's: an object with fewer fields would drop the others without a word.
}

variable "audit_key" {
  description = "Key of the hashes that replace people in intake's audit lines (docs/privacy.md), for example from `openssl rand -hex 32`; null leaves people out."
  type        = string
  sensitive   = true
  default     = null
}

variable "cors_allowed_origins" {
  description = "Origins of web pages that may call the API from a browser."
  type        = set(string)
  default     = []
}

variable "domain" {
  description = "The API's own name, with its ACM certificate or with a hosted zone of Route 53; null keeps the execute-api address."
  type        = object({ name = string, certificate_arn = optional(string), zone_id = optional(string) })
  default     = null
}

variable "operators_email" {
  description = "E-mail address that gets the alarms; its owner has to confirm the subscription."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.operators_email))
    error_message = "operators_email must be an e-mail address."
  }
}
