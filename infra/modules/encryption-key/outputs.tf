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
