terraform {
  required_version = ">= 1.10" # state locking in S3 without a table

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
