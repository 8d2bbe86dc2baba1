output "id" {
  description = "ID of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "cors_configuration" {
  description = "The gateway's own CORS configuration: empty."
  value       = aws_apigatewayv2_api.this.cors_configuration
}

output "endpoint" {
  description = "Address of the API."
  value       = var.domain == null ? aws_apigatewayv2_api.this.api_endpoint : "https://${var.domain.name}"
}

output "domain_target" {
  description = "The target for a CNAME or alias record of the API's own name, with the hosted zone for an alias; null without such a name."
  value = var.domain == null ? null : {
    name           = aws_apigatewayv2_domain_name.this[0].domain_name_configuration[0].target_domain_name
    hosted_zone_id = aws_apigatewayv2_domain_name.this[0].domain_name_configuration[0].hosted_zone_id
  }
}

output "domain" {
  description = "The certificate and the records that were created for the API's own name."
  value = {
    name            = one(aws_apigatewayv2_domain_name.this[*].domain_name)
    certificate_arn = try(aws_apigatewayv2_domain_name.this[0].domain_name_configuration[0].certificate_arn, null)
    records         = [for record in concat(aws_route53_record.validation, aws_route53_record.api) : { name = record.name, type = record.type, alias = record.alias, records = record.records }]
  }
}

output "routes" {
  description = "Each route with what it calls and its authorization."
  value = {
    for route, settings in local.routes : route => {
      integration   = aws_apigatewayv2_integration.application[var.application_url == null ? settings.calls : settings.path]
      authorization = aws_apigatewayv2_route.this[route].authorization_type
    }
  }
}

output "permissions" {
  description = "The permissions by which the gateway calls each function; empty if it calls another host."
  value       = aws_lambda_permission.api
}

output "execution_arn" {
  description = "The source ARN of the gateway's calls."
  value       = aws_apigatewayv2_api.this.execution_arn
}

output "stage" {
  description = "Throttling, detailed metrics, and the access log's format."
  value = {
    throttling        = aws_apigatewayv2_stage.default.default_route_settings[0]
    route_throttling  = aws_apigatewayv2_stage.default.route_settings
    access_log_format = aws_apigatewayv2_stage.default.access_log_settings[0].format
  }
}
