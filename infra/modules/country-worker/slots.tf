# Files of slots: bucket -> importer. The account's policies say who may put them there: clinics, or whoever exports for them.

resource "aws_s3_bucket" "slots" {
  #checkov:skip=CKV_AWS_18:CloudTrail can record who reads or writes an object; the files are deleted after a while
  #checkov:skip=CKV_AWS_144:Nothing here survives the loss of a region (docs/restore.md); what was imported is in the database
  bucket = var.slots_bucket.name
}

resource "aws_s3_bucket_public_access_block" "slots" {
  bucket = aws_s3_bucket.slots.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "slots" {
  bucket = aws_s3_bucket.slots.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "slots" {
  bucket = aws_s3_bucket.slots.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = module.key["slots"].arn
    }
  }
}

# With versions, a file that was overwritten during its import can still be read.
resource "aws_s3_bucket_versioning" "slots" {
  bucket = aws_s3_bucket.slots.id

  versioning_configuration {
    status = "Enabled"
  }
}

# Files and reports name practitioners: they are deleted when nobody needs them any more.
resource "aws_s3_bucket_lifecycle_configuration" "slots" {
  bucket = aws_s3_bucket.slots.id

  rule {
    id     = "forget"
    status = "Enabled"

    filter {}

    expiration {
      days = local.slots_file_days
    }

    noncurrent_version_expiration {
      noncurrent_days = local.slots_file_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.slots]
}

locals {
  slots_file_days = var.durations.slots_file_retention / (24 * 60 * 60)
  drain_minutes   = var.durations.drain_interval / 60
}

resource "aws_s3_bucket_policy" "slots" {
  bucket = aws_s3_bucket.slots.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RefuseWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:GetObject", "s3:PutObject"]
      Resource  = ["${aws_s3_bucket.slots.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.slots]
}

resource "aws_s3_bucket_notification" "slots" {
  bucket = aws_s3_bucket.slots.id

  lambda_function {
    id                  = "import"
    lambda_function_arn = aws_lambda_alias.importer.arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = var.slots_bucket.files
  }

  depends_on = [aws_lambda_permission.bucket]
}

resource "aws_lambda_permission" "bucket" {
  statement_id   = "bucket"
  function_name  = aws_lambda_alias.importer.function_name
  qualifier      = aws_lambda_alias.importer.name
  action         = "lambda:InvokeFunction"
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.slots.arn
  source_account = data.aws_caller_identity.current.account_id
}

# Puts the events in the country's outbox on the bus each minute; an import does so by itself. Only the default bus has schedules.
resource "aws_cloudwatch_event_rule" "drain" {
  name        = var.importer.drain_rule
  description = "Announces the slots that changed in ${var.country}"
  state       = var.paused || var.catalogue.kind == "external" ? "DISABLED" : "ENABLED"
  schedule_expression = format(
    "rate(%d %s)", local.drain_minutes, local.drain_minutes == 1 ? "minute" : "minutes"
  )

  lifecycle {
    precondition {
      condition     = local.drain_minutes >= 1 && floor(local.drain_minutes) == local.drain_minutes
      error_message = "drain_interval must be a whole number of minutes: EventBridge has no shorter rate."
    }
  }
}

resource "aws_cloudwatch_event_target" "drain" {
  rule      = aws_cloudwatch_event_rule.drain.name
  target_id = "function"
  arn       = aws_lambda_alias.importer.arn
  input     = jsonencode({})

  depends_on = [aws_lambda_permission.drain]
}

resource "aws_lambda_permission" "drain" {
  statement_id   = var.importer.drain_rule
  function_name  = aws_lambda_alias.importer.function_name
  qualifier      = aws_lambda_alias.importer.name
  action         = "lambda:InvokeFunction"
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.drain.arn
  source_account = data.aws_caller_identity.current.account_id
}

# S3 and the schedule call asynchronously. An interrupted import continues when Lambda repeats the call.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
resource "aws_lambda_function_event_invoke_config" "importer" {
  function_name                = aws_lambda_alias.importer.function_name
  qualifier                    = aws_lambda_alias.importer.name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 6 * 60 * 60
}
