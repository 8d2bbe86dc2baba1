output "arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn
}

output "policy" {
  description = "Key policy, as JSON."
  value       = aws_kms_key.this.policy
}

output "rotated" {
  description = "Whether AWS rotates the key's material every year."
  value       = aws_kms_key.this.enable_key_rotation
}

output "deletion_window_in_days" {
  description = "The days during which the deletion of the key can be taken back."
  value       = aws_kms_key.this.deletion_window_in_days
}

output "alias" {
  description = "Name of the key, with `alias/`."
  value       = aws_kms_alias.this.name
}
