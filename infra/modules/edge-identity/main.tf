data "aws_caller_identity" "current" {}

locals {
  # Who may assume a component's role: workloads with an OIDC token, and the host's role.
  trust = concat(
    var.trust.oidc == null ? [] : [{
      Sid       = "AssumeWithOidc"
      Effect    = "Allow"
      Principal = { Federated = var.trust.oidc.provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = var.trust.oidc.audience
          "${local.issuer}:sub" = var.trust.oidc.subjects
        }
      }
    }],
    [for role in aws_iam_role.host : {
      Sid       = "AssumeByHost"
      Effect    = "Allow"
      Principal = { AWS = role.arn }
      Action    = "sts:AssumeRole"
    }],
  )

  # An OIDC provider's condition keys begin with its URL without the scheme, which is also the end of its ARN.
  issuer = try(regex("oidc-provider/(.+)$", var.trust.oidc.provider_arn)[0], "")

  roles = var.trust.oidc == null && length(var.trust.services) == 0 ? {} : var.components
  users = var.trust.iam_users ? var.components : {}

  newest_key = element(var.trust.iam_user_keys, -1)
}

# A task has one role, and each component rights of its own: the task's role may do nothing but act as a component.
resource "aws_iam_role" "host" {
  count = length(var.trust.services) == 0 ? 0 : 1

  name        = var.host.name
  description = "The task that runs the application; it assumes a role for each component"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AssumeByHostingTask"
      Effect    = "Allow"
      Principal = { Service = sort(var.trust.services) }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "host" {
  count = length(aws_iam_role.host)

  name   = aws_iam_role.host[0].name
  role   = aws_iam_role.host[0].id
  policy = var.host.policy
}

resource "aws_iam_policy" "component" {
  for_each = var.components

  name        = each.value.name
  description = "All that the component ${each.key} may do"
  policy      = each.value.policy
}

resource "aws_iam_role" "component" {
  for_each = local.roles

  name                 = each.value.name
  description          = "The component ${each.key}"
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.trust
  })
}

resource "aws_iam_role_policy_attachment" "component" {
  for_each = local.roles

  role       = aws_iam_role.component[each.key].name
  policy_arn = aws_iam_policy.component[each.key].arn
}

# For hosts that can neither assume a role nor present a token, such as Akamai Functions.
resource "aws_iam_user" "component" {
  #checkov:skip=CKV_AWS_273:A program's user, without a console password, and only where var.trust.iam_users asks for it
  for_each = local.users

  name          = each.value.name
  force_destroy = false
}

resource "aws_iam_user_policy_attachment" "component" {
  #checkov:skip=CKV_AWS_40:One program, one policy; a group of one user would hide who may do what
  for_each = local.users

  user       = aws_iam_user.component[each.key].name
  policy_arn = aws_iam_policy.component[each.key].arn
}

resource "aws_iam_access_key" "component" {
  for_each = {
    for pair in setproduct(keys(local.users), var.trust.iam_user_keys) : "${pair[0]}/${pair[1]}" => pair[0]
  }

  user = aws_iam_user.component[each.value].name
}
