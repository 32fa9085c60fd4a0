locals {
  # Graviton families have a g after the generation number: t4g, c7gn, im4gn. The first one was a1.
  architecture = can(regex("^([a-z]+[0-9]+g|a1\\.)", var.instance_type)) ? "arm64" : "x86_64"
  ami_id       = var.ami_id != null ? var.ami_id : nonsensitive(data.aws_ssm_parameter.ami[0].value)

  # Reading, administration and metrics, on 127.0.0.1 of the host alone.
  admin_port = 5001

  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    release_url    = var.release_url
    release_sha256 = var.release_sha256
    host_settings = {
      NAME           = var.name
      REGION         = var.region
      IMAGE_REGISTRY = var.image_registry != null ? var.image_registry : ""
      BAKEOFF_TAG    = var.image_tag
      API_PORT       = tostring(var.edge_port)
      UI_PORT        = tostring(var.ui_port)
      ADMIN_PORT     = tostring(local.admin_port)
      UI_OPEN        = length(var.ui_cidrs) > 0 ? "yes" : "no"
      SSH_LOGIN      = var.ssh_public_key != null ? "yes" : "no"
      LOG_GROUP      = aws_cloudwatch_log_group.host.name
      SHIP_LOGS      = var.ship_logs ? "yes" : "no"
      ALARMS         = var.alarms ? "yes" : "no"
      DATA_VOLUME    = join("", aws_ebs_volume.data[*].id)
      BACKUP_BUCKET  = aws_s3_bucket.backups.id
      BACKUP_TIME    = var.backup_time
      COMPOSE_URL    = var.compose_url != null ? var.compose_url : ""
      COMPOSE_SHA256 = var.compose_sha256 != null ? var.compose_sha256 : ""
    }
    stack_settings    = var.settings
    secret_parameters = var.secret_parameters
  })
}

data "aws_ssm_parameter" "ami" {
  count = var.ami_id == null ? 1 : 0
  name  = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.architecture}"
}

resource "aws_key_pair" "login" {
  count           = var.ssh_public_key != null ? 1 : 0
  key_name_prefix = "${var.name}-"
  public_key      = var.ssh_public_key
}

resource "aws_instance" "host" {
  # checkov:skip=CKV_AWS_88:The public address is optional (public_ip); the security group restricts access.
  # checkov:skip=CKV_AWS_126:Prometheus monitors the service every 5 s; detailed CloudWatch metrics are optional.
  ami                         = local.ami_id
  instance_type               = var.instance_type
  subnet_id                   = local.subnet_id
  vpc_security_group_ids      = [aws_security_group.host.id]
  iam_instance_profile        = aws_iam_instance_profile.host.name
  key_name                    = one(aws_key_pair.login[*].key_name)
  associate_public_ip_address = var.public_ip
  disable_api_termination     = var.termination_protection
  # Before it terminates the host, Terraform stops it and detaches the data volume: a refusal has to come before that.
  disable_api_stop            = var.termination_protection
  monitoring                  = var.detailed_monitoring
  ebs_optimized               = true
  user_data                   = local.user_data
  user_data_replace_on_change = false

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # Responses with one hop reach the host but not a container, so no container can obtain the role's credentials.
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.volume_gb
    encrypted   = true
    tags        = var.data_volume_gb == null ? local.snapshot_tags : {}
  }

  lifecycle {
    # Image, subnet and user data matter at the host's creation only: a newer Amazon Linux must not replace the host
    # unasked, and changed user data would stop it, only to be ignored at the next boot.
    ignore_changes = [ami, subnet_id, user_data]

    precondition {
      condition     = length(local.user_data) < 16384
      error_message = "The user data exceeds EC2's limit of 16 KB: shorten settings or secret_parameters."
    }
  }

  # The first boot needs the role's permissions, internet access and the database.
  depends_on = [
    aws_iam_role_policy.host, aws_vpc_security_group_egress_rule.web, aws_vpc_security_group_egress_rule.database,
  ]
}

# A warning of each plan, not an error: when the host is replaced is for you to choose.
check "host_image" {
  assert {
    condition     = aws_instance.host.ami == local.ami_id
    error_message = "The host runs ${aws_instance.host.ami}, and ${local.ami_id} is ${var.ami_id == null ? "the newest Amazon Linux" : "your ami_id"}: terraform/README.md, \"Patching\", says how to replace the host without losing its state."
  }
}

resource "aws_eip" "host" {
  # checkov:skip=CKV2_AWS_19:It is attached to aws_instance.host; the check does not resolve count.
  count    = var.elastic_ip ? 1 : 0
  instance = aws_instance.host.id
  domain   = "vpc"
}
