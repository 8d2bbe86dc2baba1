variable "name_prefix" {
  description = "Prefix of every name, such as staging-: with it several environments fit into one account and region."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z][a-z0-9]{0,13}-)?$", var.name_prefix))
    error_message = "name_prefix must be empty, or a lower-case letter, up to 13 more letters and digits, and a hyphen, such as staging-."
  }
}

variable "authentication" {
  description = <<-EOT
    Whose tokens the booking API accepts. `issuer` and `audience` must be in the token. The issuer's public keys are a JWKS document
    (`keys`), the https address of one (`jwks_url`), which intake fetches and keeps for five minutes, or both. The algorithms are RS256,
    PS256, ES256 and EdDSA. `token_type` is the `typ` that a token's header must have (empty: at+jwt, JWT or no `typ`).
    `max_lifetime_seconds` is the longest validity of a token. `insured_id_claim` is the claim with the five digits of the insured person.
    Staff, who act for others, have `staff_value` in the claim `staff_claim`. `page` describes how the booking page signs people in
    (authorization code with PKCE): `client_id` of its public client, `scope`, `token_origin` if the token endpoint is not at the issuer's
    origin, and the request parameter `audience`, which Auth0 needs. Without `page` people paste a token.
  EOT
  type = object({
    issuer               = string
    audience             = string
    keys                 = optional(string)
    jwks_url             = optional(string)
    token_type           = optional(string, "")
    max_lifetime_seconds = optional(number, 86400)
    insured_id_claim     = optional(string, "sub")
    staff_claim          = optional(string, "scope")
    staff_value          = optional(string, "appointments:staff")
    page                 = optional(object({ client_id = string, scope = optional(string, "openid"), token_origin = optional(string, ""), audience = optional(string, "") }))
  })

  validation {
    condition     = startswith(var.authentication.issuer, "https://") && length(var.authentication.audience) > 0
    error_message = "authentication.issuer must be an https URL, and authentication.audience must not be empty."
  }
  validation {
    condition     = var.authentication.keys != null || var.authentication.jwks_url != null
    error_message = "authentication needs keys or jwks_url."
  }
  validation {
    condition = var.authentication.keys == null || try(anytrue([
      for key in jsondecode(var.authentication.keys).keys : contains(["RSA", "EC", "OKP"], key.kty) && contains(["P-256", "Ed25519", ""], try(key.crv, ""))
    ]), false)
    error_message = "authentication.keys must be a JWKS document, {\"keys\": [...]}, with an RSA key (RS256, PS256) or one on P-256 (ES256) or Ed25519 (EdDSA): intake verifies no other."
  }
  validation {
    condition     = var.authentication.keys == null || try(!strcontains(var.authentication.keys, "\"d\""), true)
    error_message = "authentication.keys must hold public keys only: a field \"d\" is a private key."
  }
  validation {
    condition     = var.authentication.jwks_url == null || can(regex("^https://[a-z0-9.-]+(:[0-9]+)?/.*$", var.authentication.jwks_url))
    error_message = "authentication.jwks_url must be an https URL with a path, such as https://issuer.example.org/.well-known/jwks.json."
  }
  validation {
    condition     = alltrue([for name in ["insured_id_claim", "staff_claim", "staff_value"] : length(var.authentication[name]) > 0]) && var.authentication.max_lifetime_seconds > 0
    error_message = "authentication: insured_id_claim, staff_claim and staff_value must not be empty, and max_lifetime_seconds must be positive."
  }
  validation {
    condition     = var.authentication.page == null || try(length(var.authentication.page.client_id) > 0 && can(regex("^(https://[a-z0-9.-]+(:[0-9]+)?)?$", var.authentication.page.token_origin)), false)
    error_message = "authentication.page: client_id must not be empty, and token_origin must be empty or an https origin without a path, such as https://login.example.org."
  }
}

variable "audit_key" {
  description = "Key of the hashes that replace people in intake's audit lines (docs/privacy.md), for example from `openssl rand -hex 32`; null leaves people out. It is in the function's settings and in the state."
  type        = string
  sensitive   = true
  default     = null

  validation {
    condition     = var.audit_key == null || can(regex("^[!-~]{32,512}$", var.audit_key))
    error_message = "audit_key must be null, or 32 to 512 printable ASCII characters without spaces."
  }
}

variable "cors_allowed_origins" {
  description = "Origins of web pages that may call the API from a browser, such as https://citas.example.org. The application handles CORS, not the gateway."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_allowed_origins : origin == "*" || can(regex("^https?://[a-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "cors_allowed_origins must be origins, a scheme and a host without a path or a final slash, or * for any."
  }
}

variable "application_url" {
  description = <<-EOT
    HTTPS URL, without a path, of a Spin application with intake that runs outside of AWS, such as https://appointments.example.org. API
    Gateway calls it instead of the function. Its certificate must be publicly trusted. With null the gateway calls the function.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.application_url == null || can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.application_url))
    error_message = "application_url must be null, or an https URL without a path or a final slash, such as https://appointments.example.org."
  }
}

variable "edge_access_keys" {
  description = <<-EOT
    Labels of the access keys for intake outside of AWS (docs/deploy.md), the newest last. Without a label there is no user. The keys are
    in the output `edge_environment` and in the state. To rotate: add a label, give the application the new output, remove the old label.
  EOT
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.edge_access_keys) <= 2
    error_message = "edge_access_keys must have at most two labels: IAM allows a user two keys."
  }
}

variable "countries" {
  description = "Countries to set up, by ISO 3166-1 alpha-2 code; null means all countries of backplane.json."
  type        = set(string)
  default     = null

  validation {
    condition     = var.countries == null || try(length(var.countries) > 0 && length(setsubtract(var.countries, jsondecode(file("${path.module}/backplane.json")).countries[*].code)) == 0, false)
    error_message = "countries must be countries of backplane.json, in upper case. Add a further one there first (docs/adding-a-country.md)."
  }
}

variable "packages" {
  description = "The functions' zips: their folder, in which each has its function's name from backplane.json (appointment-pe.zip), and the instruction set for which they were built, arm64 or x86_64."
  type = object({
    directory    = string
    architecture = optional(string, "arm64")
  })
}

variable "functions" {
  description = <<-EOT
    Sizes of the functions. `intake` serves the API, `booking_page` the page on which people book, `confirmation` consumes the outcomes and
    republishes undecided commands, and each country has a `worker`. `reserved_concurrency` reserves a part of the account's concurrency,
    and is also the function's limit. -1 reserves nothing: a new account may have too little (AWS keeps 100 for functions without a
    reservation). `maximum_concurrency` is how many batches of its queue a function processes at once; it must be below the reservation.
    For confirmation, this and `slots_maximum_concurrency` for the queue of slots come from backplane.json unless they are given here. A
    worker uses a database connection for each batch.
  EOT
  type = object({
    intake       = optional(object({ memory_mib = optional(number, 256), reserved_concurrency = optional(number, 200) }), {})
    booking_page = optional(object({ memory_mib = optional(number, 256), reserved_concurrency = optional(number, 20) }), {})
    confirmation = optional(object({
      memory_mib                = optional(number, 256)
      reserved_concurrency      = optional(number, 20)
      maximum_concurrency       = optional(number)
      slots_maximum_concurrency = optional(number)
    }), {})
    worker = optional(object({ memory_mib = optional(number, 256), reserved_concurrency = optional(number, 25), maximum_concurrency = optional(number, 20) }), {})
  })
  default = {}

  validation {
    condition     = alltrue([for function in values(var.functions) : function.reserved_concurrency == -1 || function.reserved_concurrency >= 1])
    error_message = "functions: reserved_concurrency must be at least 1, or -1 to reserve nothing. To switch a function off, use var.paused."
  }
}

variable "paused" {
  description = <<-EOT
    What is switched off while something is restored (docs/restore.md). `intake`: no request is served. `confirmation`: no outcome is
    applied and nothing is republished. A country's code: its worker takes no message and its importer no file. Messages wait in their
    queues, and Lambda repeats the calls of the importer for six hours.
  EOT
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.paused, concat(["intake", "confirmation"], jsondecode(file("${path.module}/backplane.json")).countries[*].code))) == 0
    error_message = "paused may contain intake, confirmation, and countries of backplane.json in upper case."
  }
}

variable "database" {
  description = <<-EOT
    The database on RDS of each country. Storage is in GiB and grows by itself up to the maximum. `engine_version` may be a major version.
    To change the major version, set `allow_major_version_upgrade`. Changes wait for the maintenance window unless `apply_immediately` is
    true. A deleted database leaves a final snapshot, also if it is not protected, unless `final_snapshot` is false. To restore a country,
    use `instances` in `database_overrides`: docs/restore.md.
  EOT
  type = object({
    engine_version              = optional(string, "17")
    instance_class              = optional(string, "db.t4g.small")
    allocated_storage_gib       = optional(number, 20)
    max_allocated_storage_gib   = optional(number, 200)
    multi_az                    = optional(bool, true)
    backup_retention_days       = optional(number, 14)
    deletion_protection         = optional(bool, true)
    final_snapshot              = optional(bool, true)
    apply_immediately           = optional(bool, false)
    allow_major_version_upgrade = optional(bool, false)
  })
  default = {}
}

variable "database_overrides" {
  description = "Differences from var.database for a country, by its code, and the country's instances; the last one is in use: docs/restore.md."
  type = map(object({
    engine_version              = optional(string)
    instance_class              = optional(string)
    allocated_storage_gib       = optional(number)
    max_allocated_storage_gib   = optional(number)
    multi_az                    = optional(bool)
    backup_retention_days       = optional(number)
    deletion_protection         = optional(bool)
    final_snapshot              = optional(bool)
    apply_immediately           = optional(bool)
    allow_major_version_upgrade = optional(bool)
    instances = optional(list(object({
      suffix              = optional(string, "")
      deletion_protection = optional(bool)
      snapshot_identifier = optional(string)
      point_in_time = optional(object({
        source_identifier            = optional(string)
        source_automated_backups_arn = optional(string)
        time                         = optional(string)
      }))
    })), [{}])
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.database_overrides), jsondecode(file("${path.module}/backplane.json")).countries[*].code)) == 0
    error_message = "database_overrides must be keyed by countries of backplane.json, in upper case."
  }
}

variable "tables" {
  description = "The tables; the last one is in use. There is more than one only while the table is restored: docs/restore.md."
  type = list(object({
    suffix              = optional(string, "")
    deletion_protection = optional(bool)
    restore             = optional(object({ source_name = string, time = optional(string) }))
  }))
  default = [{}]
}

variable "table_deletion_protection" {
  description = "Whether the table is protected against deletion; a country's database has its own switch."
  type        = bool
  default     = true
}

variable "keys_deletable" {
  description = <<-EOT
    Whether the keys may be deleted, after 30 days. Final snapshots, backups and kept tables are lost with their keys. Therefore
    `terraform destroy` stops at the keys unless this was applied before.
  EOT
  type        = bool
  default     = false
}

variable "network" {
  description = "The VPC of functions and databases: its private IPv4 range, from /16 to /24, and the number of availability zones with a subnet."
  type = object({
    cidr                    = optional(string, "10.20.0.0/20")
    availability_zone_count = optional(number, 2)
  })
  default = {}
}

variable "api" {
  description = <<-EOT
    The API. `throttling` limits each route, in requests per second; `route_throttling` has the paths with other limits: by default bookings,
    which are written and published, and the routes without a token have lower limits than reading. `detailed_metrics` gives metrics for
    each route, for which CloudWatch charges. `jwt` is an RS256 issuer whose tokens the gateway verifies too; leave it null, because the
    application verifies tokens in any case. `domain` is a name for the API, with its ACM certificate or with a hosted zone of Route 53, in
    which Terraform creates certificate and records.
  EOT
  type = object({
    throttling = optional(object({ rate_per_second = number, burst = number }), { rate_per_second = 200, burst = 400 })
    route_throttling = optional(map(object({ rate_per_second = number, burst = number })), {
      "/appointments" = { rate_per_second = 50, burst = 100 }
      "/appointment"  = { rate_per_second = 50, burst = 100 }
      "/health"       = { rate_per_second = 20, burst = 40 }
      "/openapi.yaml" = { rate_per_second = 20, burst = 40 }
      "$default"      = { rate_per_second = 20, burst = 40 }
    })
    detailed_metrics = optional(bool, false)
    jwt              = optional(object({ issuer = string, audience = list(string), algorithm = string }))
    domain           = optional(object({ name = string, certificate_arn = optional(string), zone_id = optional(string) }))
  })
  default = {}
}

variable "log_retention_days" {
  description = "How long log groups keep their lines, in days."
  type        = number
  default     = 365
}

variable "otel_exporter_otlp_endpoint" {
  description = <<-EOT
    URL of an OpenTelemetry collector (OTLP over HTTP), such as https://otlp.example.org, to which the three functions of the application send
    the spans of each event before they respond, which takes up to a second; null sends none. The countries' workers send none, because their
    subnets lead only to AWS's endpoints.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.otel_exporter_otlp_endpoint == null || can(regex("^https?://[^/ ]+(/[^ ]*)?$", var.otel_exporter_otlp_endpoint))
    error_message = "otel_exporter_otlp_endpoint must be null, or the URL of a collector, such as https://otlp.example.org."
  }
}

variable "otel_exporter_otlp_headers" {
  description = "Headers of the requests to the collector, such as `authorization=Bearer%20…` (name=value, several by commas, values percent-encoded); null sends none. They are in the functions' settings and in the state."
  type        = string
  sensitive   = true
  default     = null

  validation {
    condition     = var.otel_exporter_otlp_headers == null || (var.otel_exporter_otlp_endpoint != null && can(regex("^[^=, ]+=[^, ]+(,[^=, ]+=[^, ]+)*$", var.otel_exporter_otlp_headers)))
    error_message = "otel_exporter_otlp_headers must be null, or name=value, several by commas, for the collector that otel_exporter_otlp_endpoint names."
  }
}

variable "alarm_actions" {
  description = "ARNs of the actions of alarms, usually an SNS topic."
  type        = set(string)
  default     = []
}
