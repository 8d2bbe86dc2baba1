# A Spin application outside of AWS signs its calls with the access keys of an IAM user, because the hosts that run Spin at the edge can
# neither assume a role nor present a token.

resource "aws_iam_policy" "intake" {
  name        = var.name
  description = "All that intake may do at the edge"
  policy      = var.policy
}

resource "aws_iam_user" "intake" {
  #checkov:skip=CKV_AWS_273:A program's user, without a console password, and only on request
  name          = var.name
  force_destroy = false
}

resource "aws_iam_user_policy_attachment" "intake" {
  #checkov:skip=CKV_AWS_40:One program with one policy; a group of one user would hide who may do what
  user       = aws_iam_user.intake.name
  policy_arn = aws_iam_policy.intake.arn
}

resource "aws_iam_access_key" "intake" {
  for_each = toset(var.access_keys)

  user = aws_iam_user.intake.name
}
