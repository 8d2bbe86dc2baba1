output "policies" {
  description = "Policy of each component, as JSON."
  value       = { for name, policy in aws_iam_policy.component : name => policy.policy }
}

output "roles" {
  description = "Role of each component, with its trust policy as JSON."
  value       = { for name, role in aws_iam_role.component : name => { arn = role.arn, trust = role.assume_role_policy } }
}

output "host_role" {
  description = "Role of the task that runs the application, with its policy and its trust policy as JSON; null where no service was named."
  value       = try({ arn = aws_iam_role.host[0].arn, policy = aws_iam_role_policy.host[0].policy, trust = aws_iam_role.host[0].assume_role_policy }, null)
}

output "users" {
  description = "Name of each component's IAM user; empty unless they were asked for."
  value       = { for name, user in aws_iam_user.component : name => user.name }
}

output "access_key_labels" {
  description = "Component and label of each access key."
  value       = keys(aws_iam_access_key.component)
}

output "access_keys" {
  description = "Newest access key of each component's IAM user; empty unless they were asked for."
  value = {
    for name, user in aws_iam_user.component : name => {
      id     = aws_iam_access_key.component["${name}/${local.newest_key}"].id
      secret = aws_iam_access_key.component["${name}/${local.newest_key}"].secret
    }
  }
  sensitive = true
}
