output "api_endpoint" {
  description = "Address of the API: its own name, or the execute-api address."
  value       = module.api_gateway.endpoint
}

output "api_domain_target" {
  description = "Where a DNS record of the API's own name has to lead, and the hosted zone for an alias record; null without such a name. With api.domain.zone_id the record is made."
  value       = module.api_gateway.domain_target
}

output "edge_environment" {
  description = "Variables of spin.toml with which intake and the booking page run elsewhere, by their names: `cargo xtask spin-env` makes the environment file of them. Empty without edge_access_keys."
  value = length(module.edge_identity) == 0 ? {} : merge(local.variables["booking_page"], local.variables["intake"], {
    intake_access_key_id     = module.edge_identity[0].access_key.id
    intake_secret_access_key = module.edge_identity[0].access_key.secret
  })
  sensitive = true
}
