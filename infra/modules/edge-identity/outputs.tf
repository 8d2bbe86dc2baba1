output "user" {
  description = "Name of the user."
  value       = aws_iam_user.intake.name
}

output "policy" {
  description = "Its policy, as JSON."
  value       = aws_iam_policy.intake.policy
}

output "access_key_labels" {
  description = "Label of each access key."
  value       = keys(aws_iam_access_key.intake)
}

output "access_key" {
  description = "The newest access key."
  value = {
    id     = aws_iam_access_key.intake[element(var.access_keys, -1)].id
    secret = aws_iam_access_key.intake[element(var.access_keys, -1)].secret
  }
  sensitive = true
}
