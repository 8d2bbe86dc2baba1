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
