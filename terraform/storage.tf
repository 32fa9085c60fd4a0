resource "aws_cloudwatch_log_group" "host" {
  # checkov:skip=CKV_AWS_158:CloudWatch encrypts with an AWS-managed key; the logs contain no secrets and no request bodies.
  # checkov:skip=CKV_AWS_338:Predictions are logged in the store and its backups; these logs serve troubleshooting only.
  name              = "/bakeoff/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_s3_bucket" "backups" {
  # checkov:skip=CKV_AWS_144:A second region doubles the cost; add replication to this bucket if you need it.
  # checkov:skip=CKV_AWS_145:Encrypted with S3-managed keys; a customer-managed key costs money and needs a policy.
  # checkov:skip=CKV_AWS_18:One host writes one file a night; an access log would need a second bucket.
  # checkov:skip=CKV2_AWS_62:No process needs to be notified of a backup.
  bucket_prefix = "${var.name}-backups-"
  force_destroy = var.delete_backups
}

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    id     = "old-backups"
    status = "Enabled"

    filter {}

    expiration {
      days = var.backup_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  depends_on = [aws_s3_bucket_versioning.backups]
}

resource "aws_s3_bucket_policy" "backups" {
  bucket = aws_s3_bucket.backups.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyEncryptedConnections"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.backups.arn, "${aws_s3_bucket.backups.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # AWS rejects a bucket policy while the public access block is being changed.
  depends_on = [aws_s3_bucket_public_access_block.backups]
}
