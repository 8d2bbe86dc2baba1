locals {
  postgresql_port = 5432
  identifier      = replace("${var.name_prefix}${var.database.name}", "_", "-")
  major_version   = split(".", var.database.engine_version)[0]

  # By the suffix of their identifiers; the last one is in use.
  instances = { for instance in var.database.instances : instance.suffix => instance }
  serving   = aws_db_instance.this[var.database.instances[length(var.database.instances) - 1].suffix]
}

resource "aws_db_subnet_group" "this" {
  name        = local.identifier
  description = "Private subnets for the database of ${var.country}"
  subnet_ids  = var.network.private_subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${local.identifier}-postgres${local.major_version}"
  description = "Refuses connections without TLS, and keeps statements' values out of the log"
  family      = "postgres${local.major_version}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # Values of a statement are personal data.
  parameter {
    name  = "log_parameter_max_length"
    value = "0"
  }

  parameter {
    name  = "log_parameter_max_length_on_error"
    value = "0"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV2_AWS_30:A log of statements would hold personal data
  #checkov:skip=CKV_AWS_118:Enhanced monitoring needs a role and an agent stream; the alarms use the instance's own metrics
  #checkov:skip=CKV_AWS_157:Multi-AZ is a variable, true by default; a trial can do without it
  #checkov:skip=CKV_AWS_293:Deletion protection is a variable, true by default; a trial can be taken down
  for_each = local.instances

  identifier            = "${local.identifier}${each.key}"
  engine                = "postgres"
  engine_version        = var.database.engine_version
  instance_class        = var.database.instance_class
  db_name               = var.database.name
  port                  = local.postgresql_port
  parameter_group_name  = aws_db_parameter_group.this.name
  allocated_storage     = var.database.allocated_storage_gib
  max_allocated_storage = var.database.max_allocated_storage_gib
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = module.key["database"].arn

  # RDS restores into a new instance; the earlier one stays as it is:
  # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIT.html
  snapshot_identifier = each.value.snapshot_identifier

  dynamic "restore_to_point_in_time" {
    for_each = each.value.point_in_time == null ? [] : [each.value.point_in_time]

    content {
      source_db_instance_identifier            = restore_to_point_in_time.value.source_identifier
      source_db_instance_automated_backups_arn = restore_to_point_in_time.value.source_automated_backups_arn
      restore_time                             = restore_to_point_in_time.value.time
      use_latest_restorable_time               = restore_to_point_in_time.value.time == null ? true : null
    }
  }

  # RDS creates the master password, keeps it in Secrets Manager and rotates it; only the migration reads it.
  username                            = "postgres"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = module.key["secret"].arn
  iam_database_authentication_enabled = true
  ca_cert_identifier                  = "rds-ca-rsa2048-g1"

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  multi_az               = var.database.multi_az

  backup_retention_period     = var.database.backup_retention_days
  backup_window               = "07:00-08:00" # UTC: two in the morning in Lima, three or four in Santiago
  maintenance_window          = "sun:08:30-sun:09:30"
  copy_tags_to_snapshot       = true
  delete_automated_backups    = false
  deletion_protection         = coalesce(each.value.deletion_protection, var.database.deletion_protection)
  skip_final_snapshot         = !var.database.final_snapshot
  final_snapshot_identifier   = "${local.identifier}${each.key}-final"
  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = var.database.allow_major_version_upgrade
  apply_immediately           = var.database.apply_immediately

  performance_insights_enabled    = true
  performance_insights_kms_key_id = module.key["database"].arn
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]

  # A change of these would replace a restored instance by one from a backup that may be gone.
  lifecycle {
    ignore_changes = [snapshot_identifier, restore_to_point_in_time]
  }

  depends_on = [var.database_log_groups]
}

# Function -> database, function -> AWS endpoints (S3's is a list of addresses), and nothing else.

resource "aws_security_group" "function" {
  name        = "${var.worker.function}-function"
  description = "The functions of ${var.country}"
  vpc_id      = var.network.vpc_id
}

resource "aws_security_group" "database" {
  name        = "${local.identifier}-database"
  description = "The database of ${var.country}"
  vpc_id      = var.network.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  description                  = "From the functions of ${var.country}"
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = local.postgresql_port
  to_port                      = local.postgresql_port
}

resource "aws_vpc_security_group_egress_rule" "to_database" {
  security_group_id            = aws_security_group.function.id
  description                  = "To the database of ${var.country}"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = local.postgresql_port
  to_port                      = local.postgresql_port
}

resource "aws_vpc_security_group_egress_rule" "to_endpoints" {
  security_group_id            = aws_security_group.function.id
  description                  = "To the endpoints of AWS services"
  referenced_security_group_id = var.network.endpoints_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "to_s3" {
  security_group_id = aws_security_group.function.id
  description       = "To the files of slots in S3"
  prefix_list_id    = var.network.s3_prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id            = var.network.endpoints_security_group_id
  description                  = "From the functions of ${var.country}"
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}
