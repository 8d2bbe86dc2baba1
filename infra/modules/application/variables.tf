variable "functions" {
  description = <<-EOT
    The three functions by the component that each runs, `intake`, `booking_page` and `confirmation`: the name of function and role, the role's policy as
    JSON, the environment, and the sizes. `reserved_concurrency` is the function's part of the account's concurrency, and its limit; null
    reserves nothing. A paused function does nothing: intake serves no request, confirmation is called by neither queues nor schedule.
  EOT
  type = map(object({
    name                 = string
    description          = string
    policy               = string
    environment          = map(string)
    memory_mib           = number
    timeout_seconds      = number
    reserved_concurrency = optional(number)
    paused               = optional(bool, false)
  }))

  validation {
    condition     = toset(keys(var.functions)) == toset(["intake", "booking_page", "confirmation"])
    error_message = "functions must have exactly the keys intake, booking_page and confirmation."
  }
  validation {
    condition     = alltrue([for function in var.functions : function.memory_mib >= 128 && function.memory_mib <= 10240])
    error_message = "functions: memory_mib must be from 128 to 10240 (AWS Lambda)."
  }
  validation {
    condition     = alltrue([for function in var.functions : function.reserved_concurrency == null || try(function.reserved_concurrency >= 1, false)])
    error_message = "functions: reserved_concurrency must be null or at least 1; `paused` switches a function off."
  }
}

variable "package" {
  description = "Path of the zip with the executable `bootstrap`. Beside it, a file with the ending `.architecture` holds the architecture for which it was built."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip")
    error_message = "package must be the path of a .zip file."
  }
}

variable "architecture" {
  description = "Instruction set of the functions: `arm64` or `x86_64`."
  type        = string

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "log_groups" {
  description = "Names of the functions' log groups, by component."
  type        = map(string)
}

variable "queues" {
  description = "The queues `outcomes` and `slots`, how the function consumes each, and how many batches of each it processes at once."
  type = map(object({
    arn                     = string
    visibility_timeout      = number
    batch_size              = number
    batching_window         = number
    function_response_types = set(string)
    maximum_concurrency     = number
  }))

  validation {
    condition     = toset(keys(var.queues)) == toset(["outcomes", "slots"])
    error_message = "queues must have exactly the keys outcomes and slots."
  }
  validation {
    condition     = alltrue([for queue in var.queues : queue.maximum_concurrency >= 2 && queue.maximum_concurrency <= 1000])
    error_message = "queues: maximum_concurrency must be from 2 to 1000 (AWS Lambda's limits for SQS)."
  }
}

variable "alias" {
  description = "Name of the alias by which each function is called."
  type        = string
}

variable "republish" {
  description = "How often undecided commands are republished, and each country's rule with its input for the function, by ISO 3166-1 alpha-2 code."
  type = object({
    interval_seconds = number
    countries        = map(object({ rule = string, input = string }))
  })
}

variable "serve_after" {
  description = "What must be done before the aliases move to a new version: the workers' aliases."
  type        = any
  default     = []
}
