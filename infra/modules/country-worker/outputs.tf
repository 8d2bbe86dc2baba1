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
  description = "Keys by what they encrypt (`queue`, `database`, `secret`): ARN, policy, rotation."
  value       = module.key
}

output "functions" {
  description = "The functions `worker` and `migration`."
  value       = aws_lambda_function.this
}

output "event_source_mapping" {
  description = "The mapping of the queue to the worker."
  value       = aws_lambda_event_source_mapping.requests
}

output "migration" {
  description = "The call of the migration function."
  value       = aws_lambda_invocation.migration
}

output "role_trusts" {
  description = "Trust policies, as JSON, of the execution roles `worker` and `migration`."
  value       = { for name, role in aws_iam_role.function : name => role.assume_role_policy }
}

output "role_policies" {
  description = "Policies, as JSON, of the execution roles `worker` and `migration`."
  value       = { for name, policy in aws_iam_role_policy.function : name => policy.policy }
}

output "database" {
  description = "The database, without its credentials."
  value = {
    address                             = aws_db_instance.this.address
    backup_retention_period             = aws_db_instance.this.backup_retention_period
    deletion_protection                 = aws_db_instance.this.deletion_protection
    iam_database_authentication_enabled = aws_db_instance.this.iam_database_authentication_enabled
    identifier                          = aws_db_instance.this.identifier
    instance_class                      = aws_db_instance.this.instance_class
    kms_key_id                          = aws_db_instance.this.kms_key_id
    manage_master_user_password         = aws_db_instance.this.manage_master_user_password
    master_user_secret_arn              = aws_db_instance.this.master_user_secret[0].secret_arn
    master_user_secret_kms_key_id       = aws_db_instance.this.master_user_secret_kms_key_id
    multi_az                            = aws_db_instance.this.multi_az
    parameters                          = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value }
    publicly_accessible                 = aws_db_instance.this.publicly_accessible
    resource_id                         = aws_db_instance.this.resource_id
    storage_encrypted                   = aws_db_instance.this.storage_encrypted
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
