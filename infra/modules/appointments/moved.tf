# The queue of outcomes was the only one.

moved {
  from = aws_sqs_queue.confirmation
  to   = aws_sqs_queue.this["outcomes"]
}

moved {
  from = aws_sqs_queue.confirmation_dead_letter
  to   = aws_sqs_queue.dead_letter["outcomes"]
}

moved {
  from = aws_sqs_queue.confirmation_undelivered
  to   = aws_sqs_queue.undelivered["outcomes"]
}

moved {
  from = aws_sqs_queue_redrive_allow_policy.confirmation_dead_letter
  to   = aws_sqs_queue_redrive_allow_policy.dead_letter["outcomes"]
}

moved {
  from = aws_sqs_queue_policy.confirmation["queue"]
  to   = aws_sqs_queue_policy.delivery["outcomes"]
}

moved {
  from = aws_sqs_queue_policy.confirmation["undelivered"]
  to   = aws_sqs_queue_policy.delivery["outcomes-undelivered"]
}

moved {
  from = aws_cloudwatch_event_rule.outcomes
  to   = aws_cloudwatch_event_rule.this["outcomes"]
}

moved {
  from = aws_cloudwatch_event_target.confirmation_queue
  to   = aws_cloudwatch_event_target.queue["outcomes"]
}
