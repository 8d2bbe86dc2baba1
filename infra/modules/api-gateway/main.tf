locals {
  # Each path by itself, any method: so the application answers 405 with `Allow` where a method is wrong, and a path that
  # is not listed, /internal above all, does not exist here.
  routes = { for path in var.paths : path => "ANY ${path}" }
}

resource "aws_apigatewayv2_api" "this" {
  name                         = var.name
  description                  = "The public booking API, in front of the Spin application"
  protocol_type                = "HTTP"
  disable_execute_api_endpoint = var.domain != null
}

resource "aws_apigatewayv2_integration" "application" {
  for_each = local.routes

  api_id               = aws_apigatewayv2_api.this.id
  description          = "The application at ${each.key}"
  integration_type     = "HTTP_PROXY"
  integration_method   = "ANY"
  integration_uri      = "${var.application_url}${each.key}"
  timeout_milliseconds = var.timeout_milliseconds
}

resource "aws_apigatewayv2_route" "this" {
  #checkov:skip=CKV_AWS_309:The application itself verifies tokens, in every case; var.jwt adds the gateway's own check
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.value
  target             = "integrations/${aws_apigatewayv2_integration.application[each.key].id}"
  authorization_type = local.guarded[each.key] ? "JWT" : "NONE"
  authorizer_id      = local.guarded[each.key] ? aws_apigatewayv2_authorizer.jwt[0].id : null
}

locals {
  guarded = { for path in var.paths : path => var.jwt != null && !contains(var.open_paths, path) }
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  count = var.jwt == null ? 0 : 1

  api_id           = aws_apigatewayv2_api.this.id
  name             = "jwt"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.jwt.issuer
    audience = var.jwt.audience
  }
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_burst_limit   = var.throttling.burst
    throttling_rate_limit    = var.throttling.rate_per_second
    detailed_metrics_enabled = true
  }

  # The route, never the path: a path holds the insured person's code.
  access_log_settings {
    destination_arn = var.access_log_group_arn

    format = jsonencode({
      timestamp              = "$context.requestTime"
      request_id             = "$context.requestId"
      route                  = "$context.routeKey"
      method                 = "$context.httpMethod"
      status                 = "$context.status"
      error                  = "$context.error.message"
      response_length_bytes  = "$context.responseLength"
      response_latency_ms    = "$context.responseLatency"
      application_status     = "$context.integration.status"
      application_latency_ms = "$context.integration.latency"
    })
  }
}

resource "aws_apigatewayv2_domain_name" "this" {
  count = var.domain == null ? 0 : 1

  domain_name = var.domain.name

  domain_name_configuration {
    certificate_arn = var.domain.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  count = var.domain == null ? 0 : 1

  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this[0].id
  stage       = aws_apigatewayv2_stage.default.id
}
