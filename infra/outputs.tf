output "api_endpoint" {
  description = "Address of the API: its own name, or the execute-api address."
  value       = module.api_gateway.endpoint
}

output "api_domain_target" {
  description = "The target for a DNS record of the API's own name, and the hosted zone for an alias record; null without such a name. With api.domain.zone_id Terraform creates the record."
  value       = module.api_gateway.domain_target
}

output "appointments_topic_arn" {
  description = "ARN of the topic of commands, by which `cargo xtask redrive`, `forget` and `reconcile` find this environment: `--aws <ARN>`."
  value       = module.appointments.topic.arn
}

output "appointments_table" {
  description = "Name of the table of appointments in use, for `--table` of the same commands after a restore."
  value       = module.appointments.table.name
}

output "edge_environment" {
  description = "Variables of spin.toml for intake and the booking page outside of AWS, by their names: `cargo xtask spin-env` writes them into an environment file. Empty without edge_access_keys."
  value = length(module.edge_identity) == 0 ? {} : merge(local.variables["booking_page"], local.variables["intake"], {
    intake_access_key_id     = module.edge_identity[0].access_key.id
    intake_secret_access_key = module.edge_identity[0].access_key.secret
  })
  sensitive = true
}
