data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  arn_prefix = "arn:${data.aws_partition.current.partition}"
  account_id = data.aws_caller_identity.current.account_id

  # The managed policy AmazonSSMManagedInstanceCore would also let the host read every parameter of the account.
  session_statements = [{
    Sid    = "SessionManager"
    Effect = "Allow"
    Action = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    # These actions do not support resource-level permissions.
    Resource = "*"
  }]

  log_statements = [{
    Sid      = "Logs"
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    Resource = "${aws_cloudwatch_log_group.host.arn}:*"
  }]

  metrics_statements = [{
    Sid      = "Metrics"
    Effect   = "Allow"
    Action   = ["cloudwatch:PutMetricData"]
    Resource = "*" # this action does not support resource-level permissions, but a namespace
    Condition = {
      StringEquals = { "cloudwatch:namespace" = local.metrics_namespace }
    }
  }]

  # No permission to delete: an attacker who takes over the host cannot destroy earlier backups.
  backup_statements = [
    {
      Sid      = "Backups"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = "${aws_s3_bucket.backups.arn}/backups/*"
    },
    {
      Sid      = "ListBackups"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = aws_s3_bucket.backups.arn
    },
  ]

  release_statements = [{
    Sid      = "Release"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = "${local.arn_prefix}:s3:::${trimprefix(var.release_url, "s3://")}"
  }]

  secret_statements = [{
    Sid    = "Secrets"
    Effect = "Allow"
    Action = ["ssm:GetParameter"]
    Resource = [
      for parameter in sort(distinct(values(var.secret_parameters))) :
      "${local.arn_prefix}:ssm:${var.region}:${local.account_id}:parameter${parameter}"
    ]
  }]

  registry_host   = var.image_registry == null ? "" : split("/", var.image_registry)[0]
  registry_prefix = var.image_registry == null ? "" : trimprefix(trimprefix(var.image_registry, local.registry_host), "/")
  registry_parts  = split(".", "${local.registry_host}....")
  repository_arns = [
    for image in ["bakeoff-api", "bakeoff-ui"] : join("", [
      "${local.arn_prefix}:ecr:${local.registry_parts[3]}:${local.registry_parts[0]}:repository/",
      trimprefix("${local.registry_prefix}/${image}", "/"),
    ])
  ]
  image_statements = [
    {
      Sid      = "ImageLogin"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = "*" # this action does not support resource-level permissions
    },
    {
      Sid      = "ImagePull"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = local.repository_arns
    },
  ]

  # Encoded as JSON, because all objects in a Terraform list must have the same type.
  statements = concat(
    [for statement in local.session_statements : jsonencode(statement)],
    [for statement in local.log_statements : jsonencode(statement) if var.ship_logs],
    [for statement in local.metrics_statements : jsonencode(statement) if var.alarms],
    [for statement in local.backup_statements : jsonencode(statement)],
    [for statement in local.release_statements : jsonencode(statement) if startswith(var.release_url, "s3://")],
    [for statement in local.secret_statements : jsonencode(statement) if length(var.secret_parameters) > 0],
    [for statement in local.image_statements : jsonencode(statement) if var.image_registry != null],
  )
}

resource "aws_iam_role" "host" {
  name_prefix = "${var.name}-"
  description = "Permissions of the Bakeoff host"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "host" {
  name   = "host"
  role   = aws_iam_role.host.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [for text in local.statements : jsondecode(text)] })
}

resource "aws_iam_instance_profile" "host" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.host.name
}
