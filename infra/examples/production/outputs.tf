# Outputs of the module.

output "api_endpoint" {
  description = "Address of the API: its own name, or the execute-api address."
  value       = module.backplane.api_endpoint
}

output "api_domain_target" {
  description = "The target for a DNS record of the API's own name; null without such a name."
  value       = module.backplane.api_domain_target
}

output "appointments_topic_arn" {
  description = "ARN of the topic of commands, for `cargo xtask redrive`, `forget` and `reconcile`: `--aws <ARN>`."
  value       = module.backplane.appointments_topic_arn
}

output "appointments_table" {
  description = "Name of the table of appointments in use, for `--table` of the same commands after a restore."
  value       = module.backplane.appointments_table
}

output "edge_environment" {
  description = "Variables of spin.toml for intake outside of AWS, for `cargo xtask spin-env`."
  value       = module.backplane.edge_environment
  sensitive   = true
}
