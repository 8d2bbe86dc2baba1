variable "name" {
  description = "Name of the user and of its policy."
  type        = string
}

variable "policy" {
  description = "All that intake may do, as JSON."
  type        = string
}

variable "access_keys" {
  description = <<-EOT
    Labels of the access keys, the newest last; the state contains the keys. To rotate them, add a label, give the application the new
    output, and remove the old label.
  EOT
  type        = list(string)

  validation {
    condition = (
      contains([1, 2], length(var.access_keys)) && length(distinct(var.access_keys)) == length(var.access_keys)
      && alltrue([for label in var.access_keys : can(regex("^[a-z0-9-]+$", label))])
    )
    error_message = "access_keys must be one or two different labels of lower-case letters, digits and hyphens: IAM allows a user two keys."
  }
}
