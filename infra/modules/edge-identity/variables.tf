variable "components" {
  description = "Components by logical name (`intake`, `confirmation`), each with the name of its identity and its policy as JSON."
  type        = map(object({ name = string, policy = string }))
}

variable "host" {
  description = "Name of the role of the task that runs the application, and its policy as JSON: to assume the components' roles."
  type        = object({ name = string, policy = string })
}

variable "trust" {
  description = <<-EOT
    How the host of the application gets the components' rights: `oidc` (an IAM OIDC provider with the audience and the exact
    subjects), `services` (AWS services that run the application, such as `ecs-tasks.amazonaws.com`: they get the role of the
    host, which assumes the components' roles), or `iam_users`, which
    creates users with long-lived access keys that stand in the state. `iam_user_keys` labels each user's keys, the newest last:
    to rotate them, add a label, give the application the new outputs, and remove the old label.
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

  validation {
    condition     = var.trust.oidc != null || length(var.trust.services) > 0 || var.trust.iam_users
    error_message = "trust must name at least one of oidc, services and iam_users, else nobody can act as a component."
  }
  validation {
    condition = var.trust.oidc == null || try(
      can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", var.trust.oidc.provider_arn))
      && length(var.trust.oidc.subjects) > 0
      && alltrue([for subject in var.trust.oidc.subjects : subject != "" && !strcontains(subject, "*")]),
      false
    )
    error_message = "trust.oidc needs the ARN of an IAM OIDC provider and exact subjects: a wildcard lets other workloads of the issuer in."
  }
  validation {
    condition = (
      contains([1, 2], length(var.trust.iam_user_keys)) && length(distinct(var.trust.iam_user_keys)) == length(var.trust.iam_user_keys)
      && alltrue([for label in var.trust.iam_user_keys : can(regex("^[a-z0-9-]+$", label))])
    )
    error_message = "trust.iam_user_keys must be one or two different labels of lower-case letters, digits and hyphens: IAM gives a user two keys at most."
  }
  validation {
    condition     = alltrue([for service in var.trust.services : can(regex("^[a-z-]+\\.amazonaws\\.com$", service))])
    error_message = "trust.services must be service principals, such as ecs-tasks.amazonaws.com."
  }
}
