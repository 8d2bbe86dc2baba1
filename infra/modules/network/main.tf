data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:A new zone has the highest letter, and the first var.availability_zone_count in order are used
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  zones = slice(sort(data.aws_availability_zones.available.names), 0, var.availability_zone_count)
  # 4 bits for the subnet's number: room for 16 subnets, one for each zone.
  subnets = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index) }
}

locals {
  endpoint_policies = {
    for service, uses in merge(var.endpoints, { s3 = var.s3 }) : service => jsonencode({
      Version                                      = "2012-10-17"
      Statement = [{
        Sid       = "OfThisAccount"
        Effect    = "Allow"
        Principal = "*"
        Action    = uses.actions
        Resource  = uses.resources
        Condition = { StringEquals = { "aws:PrincipalAccount" = data.aws_caller_identity.current.account_id } }
      }]
    })
  }
}

# No internet gateway, no NAT gateway, no public subnet: nothing in the VPC can be reached from the internet or reach it.
resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Nothing can leave the VPC; flow logs would show only what the security groups allow, and cost per packet
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

# Closed: a resource without its own security group can connect to nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "private" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

resource "aws_security_group" "endpoints" {
  #checkov:skip=CKV2_AWS_5:The endpoints below use it; the scan does not follow for_each
  name        = "${var.name}-endpoints"
  description = "Endpoints of AWS services; each user adds its own rule"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_endpoint" "this" {
  for_each = var.endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = local.endpoint_policies[each.key]

  tags = { Name = "${var.name}-${each.key}" }
}

# A route, not an address, by which the private subnets reach S3.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy            = local.endpoint_policies["s3"]

  tags = { Name = "${var.name}-s3" }
}
