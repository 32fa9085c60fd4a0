locals {
  # The lifecycle policy finds the volume by this tag, and its role may delete snapshots with it alone.
  snapshot_tags    = { SnapshotsOf = var.name }
  ec2_arn          = "${local.arn_prefix}:ec2:${var.region}"
  state_volume_id  = coalesce(one(aws_ebs_volume.data[*].id), aws_instance.host.root_block_device[0].volume_id)
  state_volume_arn = "${local.ec2_arn}:${local.account_id}:volume/${local.state_volume_id}"
}

# What must outlive the host: Docker's data (log, key, models, images) and the release with its .env. See host/data-volume.sh.
resource "aws_ebs_volume" "data" {
  # checkov:skip=CKV_AWS_189:Encrypted with AWS's own key; a customer-managed key costs money and needs a policy.
  # checkov:skip=CKV2_AWS_9:Its snapshots are made by the lifecycle policy below, not by AWS Backup.
  count             = var.data_volume_gb != null ? 1 : 0
  availability_zone = data.aws_subnet.host.availability_zone
  type              = "gp3"
  size              = var.data_volume_gb
  encrypted         = true
  snapshot_id       = var.data_snapshot_id
  final_snapshot    = !var.delete_backups
  tags              = merge({ Name = "${var.name}-data" }, local.snapshot_tags)

  lifecycle {
    # Another subnet, or a snapshot that was restored once, must not replace the volume.
    ignore_changes = [availability_zone, snapshot_id]
  }
}

resource "aws_volume_attachment" "data" {
  count       = length(aws_ebs_volume.data)
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data[0].id
  instance_id = aws_instance.host.id
  # Terraform detaches the volume before it terminates the host. Only a host that has shut down has written everything.
  stop_instance_before_detaching = true

  lifecycle {
    precondition {
      condition     = aws_ebs_volume.data[0].availability_zone == data.aws_subnet.host.availability_zone
      error_message = "The data volume is in ${aws_ebs_volume.data[0].availability_zone}, and ${local.subnet_id} in ${data.aws_subnet.host.availability_zone}: set subnet_id to a subnet in the volume's zone."
    }
  }
}

# --- snapshots -------------------------------------------------------------------------------------------------------

resource "aws_iam_role" "snapshots" {
  count       = var.snapshot_count > 0 ? 1 : 0
  name_prefix = "${var.name}-snapshots-"
  description = "Permissions of the lifecycle policy for the snapshots of Bakeoff"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "dlm.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = "${local.arn_prefix}:dlm:${var.region}:${local.account_id}:policy/*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "snapshots" {
  count = length(aws_iam_role.snapshots)
  name  = "snapshots"
  role  = aws_iam_role.snapshots[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Find"
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeVolumes"]
        Resource = "*" # these actions do not support resource-level permissions
      },
      {
        Sid      = "Create"
        Effect   = "Allow"
        Action   = ["ec2:CreateSnapshot"]
        Resource = [local.state_volume_arn, "${local.ec2_arn}::snapshot/*"]
      },
      {
        Sid      = "Tag"
        Effect   = "Allow"
        Action   = ["ec2:CreateTags"]
        Resource = "${local.ec2_arn}::snapshot/*"
      },
      {
        Sid       = "Delete"
        Effect    = "Allow"
        Action    = ["ec2:DeleteSnapshot"]
        Resource  = "${local.ec2_arn}::snapshot/*"
        Condition = { StringEquals = { "aws:ResourceTag/SnapshotsOf" = var.name } }
      },
    ]
  })
}

resource "aws_dlm_lifecycle_policy" "state" {
  count              = length(aws_iam_role.snapshots)
  description        = "Bakeoff snapshots of the volume with the state"
  execution_role_arn = aws_iam_role.snapshots[0].arn
  state              = "ENABLED"

  policy_details {
    resource_types = ["VOLUME"]
    target_tags    = local.snapshot_tags

    schedule {
      name      = "every ${var.snapshot_hours} hours"
      copy_tags = true

      create_rule {
        interval      = var.snapshot_hours
        interval_unit = "HOURS"
        times         = [var.snapshot_time]
      }

      retain_rule {
        count = var.snapshot_count
      }
    }
  }

  depends_on = [aws_iam_role_policy.snapshots]
}
