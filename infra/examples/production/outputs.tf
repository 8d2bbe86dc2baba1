# What the module tells, passed on.

output "api_endpoint" {
  description = "Address of the API: its own name, or the execute-api address."
  value       = module.backplane.api_endpoint
}

output "api_domain_target" {
  description = "Where a DNS record of the API's own name has to lead; null without such a name."
  value       = module.backplane.api_domain_target
}

output "edge_environment" {
  description = "Variables of spin.toml with which intake runs elsewhere, for `cargo xtask spin-env`."
  value       = module.backplane.edge_environment
  sensitive   = true
}
