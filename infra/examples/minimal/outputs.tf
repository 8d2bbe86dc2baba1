# The variables of spin.toml, passed on.

output "aws_region" {
  description = "Region of the backplane."
  value       = module.backplane.aws_region
}

output "dynamodb_endpoint" {
  description = "Endpoint of DynamoDB."
  value       = module.backplane.dynamodb_endpoint
}

output "sns_endpoint" {
  description = "Endpoint of SNS."
  value       = module.backplane.sns_endpoint
}

output "eventbridge_endpoint" {
  description = "Endpoint of EventBridge."
  value       = module.backplane.eventbridge_endpoint
}

output "appointments_table" {
  description = "Name of the table."
  value       = module.backplane.appointments_table
}

output "appointments_topic_arn" {
  description = "ARN of the topic of requests and cancellations."
  value       = module.backplane.appointments_topic_arn
}

output "appointments_event_bus" {
  description = "Name of the bus."
  value       = module.backplane.appointments_event_bus
}

output "intake_access_key_id" {
  description = "Access key of intake's IAM user, where component_trust.iam_users asks for one."
  value       = module.backplane.intake_access_key_id
  sensitive   = true
}

output "intake_secret_access_key" {
  description = "Secret of that access key."
  value       = module.backplane.intake_secret_access_key
  sensitive   = true
}

output "confirmation_access_key_id" {
  description = "Access key of confirmation's IAM user, where component_trust.iam_users asks for one."
  value       = module.backplane.confirmation_access_key_id
  sensitive   = true
}

output "confirmation_secret_access_key" {
  description = "Secret of that access key."
  value       = module.backplane.confirmation_secret_access_key
  sensitive   = true
}

output "internal_api_key" {
  description = "Key that AWS sends to the internal routes."
  value       = module.backplane.internal_api_key
  sensitive   = true
}

output "internal_api_key_previous" {
  description = "Second key that the application takes during a rotation."
  value       = module.backplane.internal_api_key_previous
  sensitive   = true
}

output "authentication" {
  description = "How intake knows who asks."
  value       = module.backplane.authentication
}

output "jwt_issuer" {
  description = "Issuer of the tokens."
  value       = module.backplane.jwt_issuer
}

output "jwt_audience" {
  description = "Audience of the tokens."
  value       = module.backplane.jwt_audience
}

output "jwt_keys" {
  description = "The issuer's public keys, on one line."
  value       = module.backplane.jwt_keys
}

output "jwt_insured_id_claim" {
  description = "Claim with the insured person's five digits."
  value       = module.backplane.jwt_insured_id_claim
}

output "jwt_staff_scope" {
  description = "Scope with which staff act for others."
  value       = module.backplane.jwt_staff_scope
}
