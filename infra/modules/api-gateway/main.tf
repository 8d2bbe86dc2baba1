locals {
  # A route for each path, with any method: the application itself responds to a wrong method (405 with `Allow`), and the access log
  # shows the route. Other paths go to the application too, for its own 404.
  routes = merge(
    { "$default" = { path = "$default", guarded = false, calls = "function" } },
    { for path in var.paths : "ANY ${path}" => { path = path, guarded = var.jwt != null && !contains(var.open_paths, path), calls = "function" } },
    # The page itself holds no data.
    { for path in var.page.paths : "ANY ${path}" => { path = path, guarded = false, calls = "page" } },
    # A browser sends a CORS preflight without a token. The more specific route wins, so the authorizer does not refuse it: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    var.jwt == null ? {} : { for path in var.paths : "OPTIONS ${path}" => { path = path, guarded = false, calls = "function" } },
  )

  # A function needs one integration. Another host needs one for each path, because the path is part of its address.
  functions = var.application_url == null ? { function = var.function, page = var.page.function } : {}
  integrations = merge(
    { for calls, function in local.functions : calls => function.invoke_arn },
    var.application_url == null ? {} : { "$default" = var.application_url },
    { for path in setunion(var.paths, var.page.paths) : path => "${var.application_url}${path}" if var.application_url != null },
  )
}

# Without cors_configuration: with it API Gateway would respond to preflights itself and ignore the application's headers. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
resource "aws_apigatewayv2_api" "this" {
  name                         = var.name
  description                  = "The public booking API"
  protocol_type                = "HTTP"
  disable_execute_api_endpoint = var.domain != null
}

resource "aws_apigatewayv2_integration" "application" {
  for_each = local.integrations

  api_id                 = aws_apigatewayv2_api.this.id
  description            = var.application_url == null ? "The ${each.key}" : "The application at ${each.key}"
  integration_type       = var.application_url == null ? "AWS_PROXY" : "HTTP_PROXY"
  integration_method     = var.application_url == null ? "POST" : "ANY"
  integration_uri        = each.value
  payload_format_version = var.application_url == null ? "2.0" : "1.0"
  timeout_milliseconds   = var.timeout_milliseconds
}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
resource "aws_lambda_permission" "api" {
  for_each = local.functions

  statement_id  = var.name
  function_name = each.value.name
  qualifier     = each.value.alias
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/*/*"
}

moved {
  from = aws_lambda_permission.api[0]
  to   = aws_lambda_permission.api["function"]
}

resource "aws_apigatewayv2_route" "this" {
  #checkov:skip=CKV_AWS_309:The application verifies tokens in every case; var.jwt adds the gateway's check
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.application[var.application_url == null ? each.value.calls : each.value.path].id}"
  authorization_type = each.value.guarded ? "JWT" : "NONE"
  authorizer_id      = each.value.guarded ? aws_apigatewayv2_authorizer.jwt[0].id : null
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
    detailed_metrics_enabled = var.detailed_metrics
  }

  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
  dynamic "route_settings" {
    for_each = var.route_throttling

    content {
      route_key                = route_settings.key == "$default" ? "$default" : "ANY ${route_settings.key}"
      throttling_burst_limit   = route_settings.value.burst
      throttling_rate_limit    = route_settings.value.rate_per_second
      detailed_metrics_enabled = var.detailed_metrics
    }
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

  # The routes of these settings must exist first.
  depends_on = [aws_apigatewayv2_route.this]
}
