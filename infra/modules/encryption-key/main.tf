data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"

  # A key policy belongs to one key: "*" means that key, and nothing narrower is possible.
  this_key = "*"

  administration = {
    Sid       = "AdministerByIam"
    Effect    = "Allow"
    Principal = { AWS = local.account }
    Action = concat(var.deletable ? ["kms:ScheduleKeyDeletion"] : [], [
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:DeleteAlias",
      "kms:DescribeKey",
      "kms:DisableKey",
      "kms:EnableKey",
      "kms:EnableKeyRotation",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:ListGrants",
      "kms:ListKeyPolicies",
      "kms:ListKeyRotations",
      "kms:ListResourceTags",
      "kms:PutKeyPolicy",
      "kms:RevokeGrant",
      "kms:RotateKeyOnDemand",
      "kms:TagResource",
      "kms:UntagResource",
      "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
    ])
    Resource = local.this_key
  }

  via_service = {
    "kms:CallerAccount" = data.aws_caller_identity.current.account_id
    "kms:ViaService"    = [for service in var.services : "${service}.${data.aws_region.current.region}.amazonaws.com"]
  }

  # IAM policies say who may use the key; this statement only requires that the use goes through a service.
  use_by_principals = [for statement in [
    {
      Sid       = "UseThroughServiceByIam"
      Effect    = "Allow"
      Principal = { AWS = local.account }
      Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
      Resource  = local.this_key
      Condition = { StringEquals = local.via_service }
    },
    {
      Sid       = "LetServicesKeepGrants"
      Effect    = "Allow"
      Principal = { AWS = local.account }
      Action    = ["kms:CreateGrant"]
      Resource  = local.this_key
      Condition = { StringEquals = local.via_service, Bool = { "kms:GrantIsForAWSResource" = "true" } }
    },
  ] : statement if length(var.services) > 0]

  use_by_services = [
    for use in var.service_uses : {
      Sid       = use.sid
      Effect    = "Allow"
      Principal = { Service = use.service }
      Action    = use.actions
      Resource  = local.this_key
      Condition = use.condition
    }
  ]
}

# Data, backups and snapshots are lost with their key. `prevent_destroy` cannot depend on a variable, so the key's own policy keeps it:
# without kms:ScheduleKeyDeletion there nobody deletes it. "No AWS principal, including the account root user or key creator, has any
# permissions to a KMS key unless they are explicitly allowed": https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
resource "aws_kms_key" "this" {
  description             = var.description
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.administration], local.use_by_principals, local.use_by_services)
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.alias}"
  target_key_id = aws_kms_key.this.key_id
}
