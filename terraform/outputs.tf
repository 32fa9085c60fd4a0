locals {
  address = coalesce(one(aws_eip.host[*].public_ip), aws_instance.host.public_ip, aws_instance.host.private_ip)
  session = "aws ssm start-session --region ${var.region} --target ${aws_instance.host.id}"
  forward = "${local.session} --document-name AWS-StartPortForwardingSession --parameters"
}

output "api_url" {
  description = "The URL of the API, for the networks in edge_cidrs."
  value       = "http://${local.address}:${var.edge_port}"
}

output "ui_url" {
  description = "The URL of the dashboard, for the networks in ui_cidrs; null if it is reachable only through connect_ui."
  value       = length(var.ui_cidrs) > 0 ? "http://${local.address}:${var.ui_port}" : null
}

output "instance_id" {
  description = "The id of the host's EC2 instance."
  value       = aws_instance.host.id
}

output "connect" {
  description = "The command that opens a shell on the host, through SSM Session Manager."
  value       = local.session
}

output "connect_ui" {
  description = "The command that forwards the dashboard to port 8501 of your machine, through SSM Session Manager."
  value       = "${local.forward} portNumber=${var.ui_port},localPortNumber=8501"
}

output "connect_api" {
  description = "The command that forwards the API, with all its calls, to port 5000 of your machine, through SSM Session Manager."
  value       = "${local.forward} portNumber=${local.admin_port},localPortNumber=5000"
}

output "backup_bucket" {
  description = "The bucket with the nightly backups, under backups/."
  value       = aws_s3_bucket.backups.id
}

output "data_volume_id" {
  description = "The EBS volume with the state; without a data volume, the host's own."
  value       = local.state_volume_id
}

output "alarm_topic" {
  description = "The SNS topic of the alarms, for further subscriptions; null without alarms."
  value       = one(aws_sns_topic.alarms[*].arn)
}

output "log_group" {
  description = "The CloudWatch log group of the host and its containers."
  value       = aws_cloudwatch_log_group.host.name
}

output "security_group_id" {
  description = "The host's security group."
  value       = aws_security_group.host.id
}

output "monthly_cost_usd" {
  description = "What AWS charges a month by the list prices in prices.tf, in USD; null for a region or an instance type that is missing there."
  value       = local.monthly_cost_usd
}
