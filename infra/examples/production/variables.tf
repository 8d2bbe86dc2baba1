variable "region" {
  description = "Region of the backplane."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as us-east-1."
  }
}

variable "application_url" {
  description = "HTTPS URL of the Spin application."
  type        = string
}

variable "authentication" {
  description = "Issuer of the callers' tokens, the audience, and the issuer's public keys as a JWKS document."
  type        = object({ issuer = string, audience = string, keys = string })
}

variable "internal_api_key" {
  description = "Key of the application's internal routes; give it in TF_VAR_internal_api_key, not in a file."
  type        = string
  sensitive   = true
}

variable "internal_api_key_previous" {
  description = "Second key during a rotation."
  type        = string
  sensitive   = true
  default     = null
}

variable "domain" {
  description = "Domain name of the API with its ACM certificate; null leaves the execute-api address."
  type        = object({ name = string, certificate_arn = string })
  default     = null
}

variable "operators_email" {
  description = "Address that hears of alarms; it has to confirm the subscription."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.operators_email))
    error_message = "operators_email must be an e-mail address."
  }
}
