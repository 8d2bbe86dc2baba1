resource "aws_iam_role" "function" {
  for_each = var.functions

  name        = each.value.name
  description = "Execution role of the function ${each.value.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AssumeByLambda"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = var.functions

  name   = each.value.name
  role   = aws_iam_role.function[each.key].id
  policy = each.value.policy
}
