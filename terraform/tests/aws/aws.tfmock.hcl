# Values of the AWS mock where a generated name would not be valid.

mock_data "aws_subnets" {
  defaults = { ids = ["subnet-0b", "subnet-0a"] }
}
mock_data "aws_subnet" {
  defaults = { vpc_id = "vpc-0a", availability_zone = "eu-central-1a", map_public_ip_on_launch = true }
}
mock_data "aws_partition" {
  defaults = { partition = "aws" }
}
mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
mock_data "aws_ssm_parameter" {
  defaults = { value = "ami-0123456789abcdef0" }
}
mock_resource "aws_s3_bucket" {
  defaults = { id = "bakeoff-backups-1", arn = "arn:aws:s3:::bakeoff-backups-1" }
}
mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/bakeoff/bakeoff" }
}
mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:bakeoff-alarms-1" }
}
mock_resource "aws_ebs_volume" {
  defaults = { id = "vol-0a" }
}
mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/bakeoff-1" }
}
mock_resource "aws_instance" {
  defaults = { id = "i-0a", public_ip = "203.0.113.80", private_ip = "10.0.0.8" }
}
