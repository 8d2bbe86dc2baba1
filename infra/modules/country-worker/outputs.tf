output "queues" {
  description = "The country's queue and its dead-letter queues: `queue`, `dead_letter`, `undelivered`."
  value = {
    queue       = aws_sqs_queue.requests
    dead_letter = aws_sqs_queue.dead_letter
    undelivered = aws_sqs_queue.undelivered
  }
}

output "queue_policies" {
  description = "Policies, as JSON, of the queues to which SNS delivers."
  value       = { for name, policy in aws_sqs_queue_policy.delivery : name => policy.policy }
}

output "subscription" {
  description = "The queue's subscription to the topic."
  value       = aws_sns_topic_subscription.requests
}

output "keys" {
  description = "Keys by what they encrypt (`queue`, `database`, `secret`, `slots`): ARN, policy, rotation."
  value       = module.key
}

output "functions" {
  description = "The functions `worker`, `migration` and `importer`."
  value       = aws_lambda_function.this
}

output "alias" {
  description = "The worker's alias, which the queue calls."
  value       = aws_lambda_alias.worker
}

output "importer" {
  description = "How the importer is called: its alias, the bucket's notification, the rule, and how Lambda repeats a call."
  value = {
    alias        = aws_lambda_alias.importer
    notification = aws_s3_bucket_notification.slots
    rule         = aws_cloudwatch_event_rule.drain
    rule_target  = aws_cloudwatch_event_target.drain
    permissions  = { bucket = aws_lambda_permission.bucket, rule = aws_lambda_permission.drain }
    repetition   = aws_lambda_function_event_invoke_config.importer
  }
}

output "slots_bucket" {
  description = "The bucket of files of slots, and how it is protected."
  value = {
    arn           = aws_s3_bucket.slots.arn
    name          = aws_s3_bucket.slots.bucket
    encryption    = one(aws_s3_bucket_server_side_encryption_configuration.slots.rule)
    lifecycle     = aws_s3_bucket_lifecycle_configuration.slots.rule
    ownership     = aws_s3_bucket_ownership_controls.slots.rule
    policy        = aws_s3_bucket_policy.slots.policy
    public_access = aws_s3_bucket_public_access_block.slots
    versioning    = aws_s3_bucket_versioning.slots.versioning_configuration[0].status
  }
}

output "event_source_mapping" {
  description = "The mapping of the queue to the worker."
  value       = aws_lambda_event_source_mapping.requests
}

output "migration" {
  description = "The call of the migration function."
  value       = aws_lambda_invocation.migration
}

output "roles" {
  description = "Names of the execution roles."
  value       = { for name, role in aws_iam_role.function : name => role.name }
}

output "role_trusts" {
  description = "Trust policies, as JSON, of the execution roles `worker`, `migration` and `importer`."
  value       = { for name, role in aws_iam_role.function : name => role.assume_role_policy }
}

output "role_policies" {
  description = "Policies, as JSON, of the execution roles `worker`, `migration` and `importer`."
  value       = { for name, policy in aws_iam_role_policy.function : name => policy.policy }
}

output "database" {
  description = "The database in use, without its credentials."
  value = {
    address                             = local.serving.address
    backup_retention_period             = local.serving.backup_retention_period
    deletion_protection                 = local.serving.deletion_protection
    iam_database_authentication_enabled = local.serving.iam_database_authentication_enabled
    identifier                          = local.serving.identifier
    instance_class                      = local.serving.instance_class
    kms_key_id                          = local.serving.kms_key_id
    manage_master_user_password         = local.serving.manage_master_user_password
    master_user_secret_arn              = local.serving.master_user_secret[0].secret_arn
    master_user_secret_kms_key_id       = local.serving.master_user_secret_kms_key_id
    multi_az                            = local.serving.multi_az
    parameter_group_family              = aws_db_parameter_group.this.family
    parameters                          = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value }
    publicly_accessible                 = local.serving.publicly_accessible
    resource_id                         = local.serving.resource_id
    storage_encrypted                   = local.serving.storage_encrypted
  }
}

output "databases" {
  description = "Every instance by its suffix: the one in use, and those that were kept after a restore."
  value = {
    for suffix, instance in aws_db_instance.this : suffix => {
      allow_major_version_upgrade = instance.allow_major_version_upgrade
      apply_immediately           = instance.apply_immediately
      deletion_protection         = instance.deletion_protection
      final_snapshot_identifier   = instance.final_snapshot_identifier
      identifier                  = instance.identifier
      restore_to_point_in_time    = instance.restore_to_point_in_time
      skip_final_snapshot         = instance.skip_final_snapshot
      snapshot_identifier         = instance.snapshot_identifier
    }
  }
}

output "database_ingress" {
  description = "The only way into the database: from the security group of the country's functions."
  value = {
    cidr_ipv4                    = aws_vpc_security_group_ingress_rule.database.cidr_ipv4
    cidr_ipv6                    = aws_vpc_security_group_ingress_rule.database.cidr_ipv6
    referenced_security_group_id = aws_vpc_security_group_ingress_rule.database.referenced_security_group_id
    function_security_group_id   = aws_security_group.function.id
  }
}
