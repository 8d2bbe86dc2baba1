# Exactly the variables of spin.toml that this deployment determines, by the same names, so that `terraform output -json` is all that the
# application is started with. A null one does not appear: the keys of a component come from its role then.

output "aws_region" {
  description = "Region of the backplane."
  value       = local.region
}

output "dynamodb_endpoint" {
  description = "Endpoint of DynamoDB."
  value       = "https://dynamodb.${local.region}.${data.aws_partition.current.dns_suffix}"
}

output "sns_endpoint" {
  description = "Endpoint of SNS."
  value       = "https://sns.${local.region}.${data.aws_partition.current.dns_suffix}"
}

output "eventbridge_endpoint" {
  description = "Endpoint of EventBridge."
  value       = "https://events.${local.region}.${data.aws_partition.current.dns_suffix}"
}

output "appointments_table" {
  description = "Name of the table."
  value       = module.appointments.table.name
}

output "appointments_topic_arn" {
  description = "ARN of the topic of requests and cancellations."
  value       = module.appointments.topic.arn
}

output "appointments_event_bus" {
  description = "Name of the bus."
  value       = module.appointments.bus.name
}

output "intake_access_key_id" {
  description = "Access key of intake's IAM user, where component_trust.iam_users asks for one."
  value       = try(module.edge_identity.access_keys["intake"].id, null)
  sensitive   = true
}

output "intake_secret_access_key" {
  description = "Secret of that access key."
  value       = try(module.edge_identity.access_keys["intake"].secret, null)
  sensitive   = true
}

output "confirmation_access_key_id" {
  description = "Access key of confirmation's IAM user, where component_trust.iam_users asks for one."
  value       = try(module.edge_identity.access_keys["confirmation"].id, null)
  sensitive   = true
}

output "confirmation_secret_access_key" {
  description = "Secret of that access key."
  value       = try(module.edge_identity.access_keys["confirmation"].secret, null)
  sensitive   = true
}

output "internal_api_key" {
  description = "Key that AWS sends to the internal routes."
  value       = var.internal_api_key
  sensitive   = true
}

output "internal_api_key_previous" {
  description = "Second key that the application takes during a rotation."
  value       = var.internal_api_key_previous
  sensitive   = true
}

output "authentication" {
  description = "How intake knows who asks."
  value       = "jwt"
}

output "jwt_issuer" {
  description = "Issuer of the tokens."
  value       = var.authentication.issuer
}

output "jwt_audience" {
  description = "Audience of the tokens."
  value       = var.authentication.audience
}

output "jwt_keys" {
  description = "The issuer's public keys, on one line."
  value       = jsonencode(jsondecode(var.authentication.keys))
}

output "jwt_insured_id_claim" {
  description = "Claim with the insured person's five digits."
  value       = var.authentication.insured_id_claim
}

output "jwt_staff_scope" {
  description = "Scope with which staff act for others."
  value       = var.authentication.staff_scope
}
