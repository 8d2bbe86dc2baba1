output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "IDs of the private subnets, one for each availability zone."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "endpoints_security_group_id" {
  description = "Security group of the endpoints; each user adds a rule for port 443."
  value       = aws_security_group.endpoints.id
}

output "s3_prefix_list_id" {
  description = "Prefix list of S3's addresses, for a user's outgoing rule on port 443."
  value       = aws_vpc_endpoint.s3.prefix_list_id
}

output "endpoint_policies" {
  description = "Policy of each endpoint, as JSON."
  value       = merge({ for name, endpoint in aws_vpc_endpoint.this : name => endpoint.policy }, { s3 = aws_vpc_endpoint.s3.policy })
}

output "subnets" {
  description = "Range of each private subnet by availability zone, and whether it assigns public addresses."
  value       = { for zone, subnet in aws_subnet.private : zone => { cidr = subnet.cidr_block, public = subnet.map_public_ip_on_launch } }
}
