# Properties that must hold for all values of the variables. AWS is mocked: nothing is read and nothing is created.

mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  edge_cidrs     = ["203.0.113.0/24"]
  release_url    = "https://releases.example.com/bakeoff-1.0.tar.gz"
  release_sha256 = "0000000000000000000000000000000000000000000000000000000000000001"
}

run "with_defaults_only_the_edge_proxy_is_open_and_only_to_its_networks" {
  assert {
    condition = [
      for rule in values(aws_vpc_security_group_ingress_rule.callers) : "${rule.from_port}-${rule.to_port} ${rule.cidr_ipv4}"
    ] == ["5000-5000 203.0.113.0/24"]
    error_message = "a port other than the API's is open."
  }

  assert {
    condition     = length(aws_key_pair.login) == 0
    error_message = "a key can log in although none was given."
  }

  assert {
    condition     = output.ui_url == null && output.api_url == "http://203.0.113.80:5000"
    error_message = "an output is an address that cannot be reached."
  }
}

run "only_the_edge_proxy_may_be_open_to_the_internet_and_only_when_allowed" {
  variables {
    edge_cidrs         = ["0.0.0.0/0", "::/0"]
    edge_open_to_world = true
    ui_cidrs           = ["198.51.100.0/24"]
    ssh_cidrs          = ["198.51.100.7/32"]
    ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu3"
  }

  assert {
    condition = alltrue([
      for rule in values(aws_vpc_security_group_ingress_rule.callers) :
      rule.from_port == 5000 || !contains(["0.0.0.0/0", "::/0"], coalesce(rule.cidr_ipv4, rule.cidr_ipv6))
    ])
    error_message = "the internet can reach a port other than the API's."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.callers) == 4
    error_message = "there is not one rule for each network."
  }
}

run "the_metadata_service_takes_tokens_only_and_no_container_reaches_it" {
  assert {
    condition     = aws_instance.host.metadata_options[0].http_tokens == "required"
    error_message = "IMDSv1 is enabled."
  }

  assert {
    condition     = aws_instance.host.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "a container can obtain the role's credentials."
  }
}

run "the_disk_is_encrypted" {
  assert {
    condition     = aws_instance.host.root_block_device[0].encrypted && aws_instance.host.root_block_device[0].volume_type == "gp3"
    error_message = "the volume is not encrypted gp3."
  }
}

run "the_bucket_is_private_encrypted_and_versioned" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.backups.block_public_acls,
      aws_s3_bucket_public_access_block.backups.block_public_policy,
      aws_s3_bucket_public_access_block.backups.ignore_public_acls,
      aws_s3_bucket_public_access_block.backups.restrict_public_buckets,
    ])
    error_message = "the bucket can be made public."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_s3_bucket_policy.backups.policy).Statement : statement.Effect == "Deny"])
    error_message = "the bucket's policy grants access."
  }

  assert {
    condition     = aws_s3_bucket_versioning.backups.versioning_configuration[0].status == "Enabled"
    error_message = "overwritten backups are lost."
  }

  assert {
    condition = one(one(aws_s3_bucket_server_side_encryption_configuration.backups.rule)
    .apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "the bucket is not encrypted."
  }

  assert {
    condition     = !aws_s3_bucket.backups.force_destroy
    error_message = "destroying the host deletes the backups."
  }
}

run "the_role_names_each_action_and_each_resource" {
  variables {
    release_url       = "s3://releases.example/bakeoff-1.0.tar.gz"
    image_registry    = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team"
    secret_parameters = { ADMIN_TOKEN = "/bakeoff/admin-token" }
  }

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.host.policy).Statement :
      [for action in flatten([statement.Action]) : !strcontains(action, "*") && !startswith(action, "iam:")]
    ]))
    error_message = "the role has a wildcard or IAM action."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.host.policy).Statement :
      !contains(flatten([statement.Resource]), "*") || contains(["SessionManager", "ImageLogin", "Metrics"], statement.Sid)
    ])
    error_message = "a statement applies to all resources although it could name them."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.host.policy).Statement : flatten([statement.Resource])
      if contains(["ImagePull", "Release", "Secrets"], statement.Sid)
      ])) == toset([
      "arn:aws:ecr:eu-west-1:123456789012:repository/team/bakeoff-api",
      "arn:aws:ecr:eu-west-1:123456789012:repository/team/bakeoff-ui",
      "arn:aws:s3:::releases.example/bakeoff-1.0.tar.gz",
      "arn:aws:ssm:eu-central-1:123456789012:parameter/bakeoff/admin-token",
    ])
    error_message = "the role can access images, objects or secrets other than those given."
  }

  assert {
    condition     = !can(regex("Delete", aws_iam_role_policy.host.policy))
    error_message = "the host can delete its backups."
  }
}

run "the_role_has_no_permissions_for_unused_features" {
  variables {
    alarms    = false
    ship_logs = false
  }

  assert {
    condition = toset([for statement in jsondecode(aws_iam_role_policy.host.policy).Statement : statement.Sid]) == toset(
      ["Backups", "ListBackups", "SessionManager"]
    )
    error_message = "the role has permissions that are not needed."
  }
}

run "metrics_are_written_to_one_namespace_which_the_alarms_read" {
  assert {
    condition = one([
      for statement in jsondecode(aws_iam_role_policy.host.policy).Statement : statement.Condition if statement.Sid == "Metrics"
    ]).StringEquals == { "cloudwatch:namespace" = jsondecode(file("host/metrics.json")).metrics.namespace }
    error_message = "the host can write other metrics of the account, or not those of its agent."
  }

  assert {
    condition     = toset([for alarm in values(aws_cloudwatch_metric_alarm.host) : alarm.namespace]) == toset(["AWS/EC2", "Bakeoff"])
    error_message = "an alarm reads metrics that nobody writes."
  }
}

run "somebody_hears_of_a_host_that_is_gone_full_or_without_backups" {
  variables {
    alarm_email = "operator@example.com"
  }

  assert {
    condition     = join(" ", keys(aws_cloudwatch_metric_alarm.host)) == "backup disk memory status"
    error_message = "an alarm is missing."
  }

  # A host that does not run sends no data.
  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.host) : alltrue([
        for actions in [alarm.alarm_actions, alarm.ok_actions, alarm.insufficient_data_actions] :
        one(actions) == aws_sns_topic.alarms[0].arn
      ])
    ])
    error_message = "nobody hears of an alarm, of its end, or of a host that sends no data."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.host["backup"].treat_missing_data == "breaching"
    error_message = "a host that never made a backup raises no alarm."
  }

  assert {
    condition     = one(aws_sns_topic_subscription.email[*].endpoint) == "operator@example.com"
    error_message = "the address is not subscribed."
  }
}

run "without_alarms_there_is_nothing_of_them" {
  variables {
    alarms = false
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.host) + length(aws_sns_topic.alarms) == 0 && output.alarm_topic == null
    error_message = "there are alarms or a topic."
  }

  assert {
    condition     = length(aws_sns_topic_subscription.email) == 0
    error_message = "somebody is subscribed."
  }
}

run "https_is_open_to_the_networks_of_the_api_where_it_has_a_port" {
  variables {
    edge_cidrs = ["203.0.113.0/24", "2001:db8::/32"]
    tls_port   = 443
  }

  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_ingress_rule.callers) :
      "${rule.from_port}-${rule.to_port} ${rule.cidr_ipv4 != null ? rule.cidr_ipv4 : rule.cidr_ipv6}"
      ]) == toset([
      "5000-5000 203.0.113.0/24", "5000-5000 2001:db8::/32", "443-443 203.0.113.0/24", "443-443 2001:db8::/32",
    ])
    error_message = "HTTPS is not open to the networks of the API, or another port or network is."
  }
}

run "a_graviton_type_gets_an_image_for_it" {
  variables {
    instance_type = "t4g.small"
  }

  assert {
    condition     = endswith(data.aws_ssm_parameter.ami[0].name, "-arm64")
    error_message = "the AMI does not match the processor architecture."
  }
}

run "an_elastic_address_is_the_one_in_the_outputs" {
  variables {
    elastic_ip = true
    ui_cidrs   = ["203.0.113.0/24"]
  }

  override_resource {
    target = aws_eip.host
    values = { public_ip = "203.0.113.99" }
  }

  assert {
    condition     = output.ui_url == "http://203.0.113.99:8501"
    error_message = "an output uses the temporary address."
  }
}
