locals {
  # What Prometheus on the host cannot tell: that the host is gone, full, or has no backup outside of itself.
  # `missing` is what no data means: `breaching` raises the alarm; with `missing` its state changes to "insufficient
  # data", of which the topic hears as well, but not before the first data of a new host.
  alarms = {
    status = {
      description = "The host or its hardware fails AWS's status checks, or the host does not run."
      namespace   = "AWS/EC2", metric = "StatusCheckFailed", statistic = "Maximum", comparison = "GreaterThanThreshold"
      threshold   = 0, period = 60, periods = 3, missing = "missing", dimensions = { InstanceId = aws_instance.host.id }
    }
    disk = {
      description = "The host's disk is almost full. docs/runbooks.md#diskalmostfull"
      namespace   = local.metrics_namespace, metric = "disk_used_percent", statistic = "Maximum", comparison = "GreaterThanThreshold"
      threshold   = 85, period = 300, periods = 2, missing = "missing", dimensions = { InstanceId = aws_instance.host.id }
    }
    memory = {
      description = "The host has almost no memory left: it will soon kill processes."
      namespace   = local.metrics_namespace, metric = "mem_used_percent", statistic = "Average", comparison = "GreaterThanThreshold"
      threshold   = 92, period = 300, periods = 3, missing = "missing", dimensions = { InstanceId = aws_instance.host.id }
    }
    backup = {
      description = "No backup has reached the bucket for two days. docs/runbooks.md#backupold"
      namespace   = local.metrics_namespace, metric = "BackupUploaded", statistic = "Sum", comparison = "LessThanThreshold"
      threshold   = 1, period = 86400, periods = 2, missing = "breaching", dimensions = { Deployment = var.name }
    }
  }
  metrics_namespace = "Bakeoff"
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:Alarms cannot publish to a topic encrypted with AWS's own key, and a customer's key costs money; the messages hold no secrets.
  count       = var.alarms ? 1 : 0
  name_prefix = "${var.name}-alarms-"
}

resource "aws_sns_topic_subscription" "email" {
  count     = var.alarm_email != null ? 1 : 0
  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "host" {
  for_each = { for name, alarm in local.alarms : name => alarm if var.alarms }

  alarm_name                = "${var.name}-${each.key}"
  alarm_description         = each.value.description
  namespace                 = each.value.namespace
  metric_name               = each.value.metric
  dimensions                = each.value.dimensions
  statistic                 = each.value.statistic
  comparison_operator       = each.value.comparison
  threshold                 = each.value.threshold
  period                    = each.value.period
  evaluation_periods        = each.value.periods
  treat_missing_data        = each.value.missing
  alarm_actions             = [aws_sns_topic.alarms[0].arn]
  ok_actions                = [aws_sns_topic.alarms[0].arn]
  insufficient_data_actions = [aws_sns_topic.alarms[0].arn]
}
