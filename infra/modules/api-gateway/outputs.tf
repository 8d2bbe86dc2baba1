output "id" {
  description = "ID of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "endpoint" {
  description = "Address of the API."
  value       = var.domain == null ? aws_apigatewayv2_api.this.api_endpoint : "https://${aws_apigatewayv2_domain_name.this[0].domain_name}"
}

output "routes" {
  description = "Each route with the address that it calls and its authorization."
  value = {
    for path, route in aws_apigatewayv2_route.this : route.route_key => {
      uri           = aws_apigatewayv2_integration.application[path].integration_uri
      authorization = route.authorization_type
    }
  }
}

output "stage" {
  description = "Throttling of each route, and the access log's format."
  value = {
    throttling        = aws_apigatewayv2_stage.default.default_route_settings[0]
    access_log_format = aws_apigatewayv2_stage.default.access_log_settings[0].format
  }
}
