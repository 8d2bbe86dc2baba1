variable "name" {
  description = "Name of the VPC, and prefix of its parts' names."
  type        = string
}

variable "cidr" {
  description = "IPv4 range of the VPC: private (RFC 1918), from /16 to /24."
  type        = string

  validation {
    condition = can(cidrnetmask(var.cidr)) && can(regex("/(1[6-9]|2[0-4])$", var.cidr)) && can(regex(
      "^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.)", var.cidr
    )) && try(cidrhost(var.cidr, 0) == split("/", var.cidr)[0], false)
    error_message = "cidr must be a private IPv4 network (RFC 1918) from /16 to /24, written by its first address, such as 10.20.0.0/20."
  }
}

variable "availability_zone_count" {
  description = "Number of availability zones with a private subnet; RDS needs two."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.availability_zone_count)
    error_message = "availability_zone_count must be 2 or 3."
  }
}

variable "s3" {
  description = "The actions in S3 that its gateway endpoint allows; the endpoint costs nothing."
  type = object({
    actions   = list(string)
    resources = list(string)
  })

  validation {
    condition     = !anytrue([for action in var.s3.actions : strcontains(action, "*")])
    error_message = "s3: name each action; a wildcard would also allow the actions that the service gets later."
  }
}

variable "endpoints" {
  description = "Interface endpoints, by the service's short name (`events`), with the actions that each allows."
  type = map(object({
    actions   = list(string)
    resources = list(string)
  }))

  validation {
    condition     = alltrue([for endpoint in var.endpoints : !anytrue([for action in endpoint.actions : strcontains(action, "*")])])
    error_message = "endpoints: name each action; a wildcard would also allow the actions that the service gets later."
  }
}
