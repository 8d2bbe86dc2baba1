variable "name" {
  description = "Name of the API."
  type        = string
}

variable "function" {
  description = "The function that the API calls: its name, the alias, and that alias's invocation ARN."
  type        = object({ name = string, alias = string, invoke_arn = string })
}

variable "page" {
  description = "The page on which people book: its paths, with path variables in braces, and the function that serves it, as `function`."
  type = object({
    paths    = set(string)
    function = object({ name = string, alias = string, invoke_arn = string })
  })

  validation {
    condition     = alltrue([for path in var.page.paths : startswith(path, "/") && !strcontains(path, "+}")])
    error_message = "page.paths must begin with /, and must not be greedy ({proxy+})."
  }
}

variable "application_url" {
  description = "HTTPS URL, without a path, of a Spin application that the gateway calls instead of the functions; null calls the functions."
  type        = string
  default     = null

  validation {
    condition     = var.application_url == null || can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.application_url))
    error_message = "application_url must be null, or an https URL without a path or a final slash."
  }
}

variable "paths" {
  description = "Paths of the API, with path variables in braces. Each is a route with its own limits and its own name in the access log."
  type        = set(string)
  default = [
    "/appointments",
    "/appointments/{insuredId}",
    "/appointments/{insuredId}/{appointmentId}",
    "/appointments/{insuredId}/{appointmentId}/move",
    "/appointment",
    "/appointment/{insuredId}",
    "/appointment/{insuredId}/{appointmentId}",
    "/appointment/{insuredId}/{appointmentId}/move",
    "/slots",
    "/slots/{countryISO}/{scheduleId}",
    "/catalog/{countryISO}",
    "/health",
    "/openapi.yaml",
  ]

  validation {
    condition     = alltrue([for path in var.paths : startswith(path, "/") && !strcontains(path, "+}")])
    error_message = "paths must begin with /, and must not be greedy ({proxy+})."
  }
}

variable "open_paths" {
  description = "The paths that need no token, also if there is an authorizer."
  type        = set(string)
  default     = ["/slots", "/slots/{countryISO}/{scheduleId}", "/catalog/{countryISO}", "/health", "/openapi.yaml"]
}

variable "timeout_milliseconds" {
  description = "How long the gateway waits for the application, in milliseconds: longer than a client may ask it to wait (`Prefer: wait=10`)."
  type        = number
  default     = 15000

  validation {
    condition     = var.timeout_milliseconds >= 4000 && var.timeout_milliseconds <= 30000
    error_message = "timeout_milliseconds must be from 4000, which is above intake's own budget, to 30000, the limit of HTTP APIs."
  }
}

variable "throttling" {
  description = "Requests per second, and in a burst, that each route takes before it responds with 429."
  type = object({
    rate_per_second = number
    burst           = number
  })
  default = { rate_per_second = 200, burst = 400 }

  validation {
    condition     = var.throttling.rate_per_second > 0 && var.throttling.burst >= var.throttling.rate_per_second
    error_message = "throttling.rate_per_second must be positive, and burst at least as large."
  }
}

variable "route_throttling" {
  description = "Limits that differ from `throttling`, by the path as in `paths`, or `$default` for all other paths."
  type = map(object({
    rate_per_second = number
    burst           = number
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.route_throttling), setunion(var.paths, var.page.paths, ["$default"]))) == 0
    error_message = "route_throttling must be keyed by paths of the API, such as /appointments, or $default."
  }
  validation {
    condition     = alltrue([for limit in var.route_throttling : limit.rate_per_second > 0 && limit.burst >= limit.rate_per_second])
    error_message = "route_throttling: rate_per_second must be positive, and burst at least as large."
  }
}

variable "detailed_metrics" {
  description = "Whether CloudWatch gets metrics for each route too, for which it charges; the alarms use those of the whole API."
  type        = bool
  default     = false
}

variable "jwt" {
  description = <<-EOT
    Issuer whose tokens the gateway verifies before it calls the application; null leaves that to the application, which does it in
    every case. HTTP APIs verify RSA signatures only: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
  EOT
  type = object({
    issuer    = string
    audience  = list(string)
    algorithm = string
  })
  default = null

  validation {
    condition     = var.jwt == null || try(var.jwt.algorithm == "RS256", false)
    error_message = "jwt.algorithm must be RS256, the algorithm that API Gateway's JWT authorizer verifies; leave jwt null for any other, because the application verifies tokens itself."
  }
  validation {
    condition     = var.jwt == null || try(startswith(var.jwt.issuer, "https://") && length(var.jwt.audience) > 0, false)
    error_message = "jwt.issuer must be an https URL, and jwt.audience must not be empty: without it the gateway takes tokens for other services."
  }
}

variable "access_log_group_arn" {
  description = "ARN of the log group for the access log."
  type        = string
}

variable "domain" {
  description = <<-EOT
    The API's own name; null leaves it at its execute-api address. With `zone_id`, a hosted zone of Route 53, the certificate and the
    records are made; else `certificate_arn` is an ACM certificate of this region, and the records are made elsewhere.
  EOT
  type = object({
    name            = string
    certificate_arn = optional(string)
    zone_id         = optional(string)
  })
  default = null

  validation {
    condition     = var.domain == null || try((var.domain.certificate_arn == null) != (var.domain.zone_id == null), false)
    error_message = "domain needs certificate_arn or zone_id, and not both."
  }
}
