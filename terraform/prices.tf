# AWS's list prices in USD, without taxes, discounts and free tiers, written down from memory on 2026-11-28 and not
# compared with AWS's pages since: check them at https://calculator.aws, and correct them by list_prices_usd.
locals {
  list_prices_usd = {
    "eu-central-1" = {
      "t3.small" = 0.0240, "t3.medium" = 0.0480, "t4g.small" = 0.0192, "t4g.medium" = 0.0384 # per hour
      "gp3"      = 0.0952, "snapshot" = 0.054, "backup" = 0.0245                             # per GB and month
      "address"  = 0.005                                                                     # per hour
      "alarm"    = 0.10, "metric" = 0.30                                                     # per month
      "log"      = 0.63                                                                      # per GB
    }
    "us-east-1" = {
      "t3.small" = 0.0208, "t3.medium" = 0.0416, "t4g.small" = 0.0168, "t4g.medium" = 0.0336
      "gp3"      = 0.08, "snapshot" = 0.05, "backup" = 0.023
      "address"  = 0.005
      "alarm"    = 0.10, "metric" = 0.30
      "log"      = 0.50
    }
  }
  prices_usd    = merge(lookup(local.list_prices_usd, var.region, {}), var.list_prices_usd)
  hours_a_month = 730 # 365 days of 24 hours, in 12 parts
  agent_metrics = 3   # disk, memory, backups
  ec2_metrics   = 7   # of detailed monitoring
  alarm_count   = length(aws_cloudwatch_metric_alarm.host)
  metric_count  = (var.alarms ? local.agent_metrics : 0) + (var.detailed_monitoring ? local.ec2_metrics : 0)
  has_public_ip = var.elastic_ip || coalesce(var.public_ip, data.aws_subnet.host.map_public_ip_on_launch)
  state_gb      = coalesce(var.data_volume_gb, var.volume_gb)
  disk_gb       = var.volume_gb + coalesce(var.data_volume_gb, 0)

  # By what exists, whatever happens on the host. A price that is missing makes its item and the sum null.
  fixed_costs_usd = {
    host    = try(local.prices_usd[var.instance_type] * local.hours_a_month, null)
    disks   = try(local.prices_usd["gp3"] * local.disk_gb, null)
    address = try(local.has_public_ip ? local.prices_usd["address"] * local.hours_a_month : 0, null)
    alarms  = try(local.alarm_count * local.prices_usd["alarm"] + local.metric_count * local.prices_usd["metric"], null)
  }
  monthly_cost_usd = {
    fixed = { for item, cost in local.fixed_costs_usd : item => try(format("%.2f", cost), null) }
    sum   = try(format("%.0f", sum(values(local.fixed_costs_usd))), null)
    # These depend on what the host does.
    per_gb = {
      snapshots = lookup(local.prices_usd, "snapshot", null)
      backups   = lookup(local.prices_usd, "backup", null)
      logs      = lookup(local.prices_usd, "log", null)
    }
  }
}
