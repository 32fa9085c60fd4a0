# The state of the experiment: what protects it, what keeps it when the host goes, and what it costs. AWS is mocked.

mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  edge_cidrs     = ["203.0.113.0/24"]
  release_url    = "https://releases.example.com/bakeoff-1.0.tar.gz"
  release_sha256 = "0000000000000000000000000000000000000000000000000000000000000001"
}

run "the_state_is_on_an_encrypted_volume_of_its_own_which_the_host_mounts" {
  assert {
    condition     = one(aws_ebs_volume.data[*].encrypted) && one(aws_ebs_volume.data[*].type) == "gp3" && one(aws_ebs_volume.data[*].size) == 20
    error_message = "the data volume is not 20 GB of encrypted gp3."
  }

  assert {
    condition     = one(aws_volume_attachment.data[*].volume_id) == "vol-0a" && one(aws_volume_attachment.data[*].instance_id) == "i-0a"
    error_message = "the data volume is not the host's."
  }

  assert {
    condition     = strcontains(aws_instance.host.user_data, "DATA_VOLUME='vol-0a'\n")
    error_message = "the host does not know its data volume."
  }

  assert {
    condition     = one(aws_volume_attachment.data[*].stop_instance_before_detaching)
    error_message = "the volume is taken from a host that still writes."
  }

  assert {
    condition     = output.data_volume_id == "vol-0a"
    error_message = "the output names another volume."
  }
}

run "nobody_ends_the_host_by_mistake_and_destroying_the_volume_leaves_a_snapshot" {
  assert {
    condition     = aws_instance.host.disable_api_termination && aws_instance.host.disable_api_stop
    error_message = "AWS would terminate the host, or stop it so that its volume can be taken."
  }

  assert {
    condition     = one(aws_ebs_volume.data[*].final_snapshot)
    error_message = "the state is gone with the volume."
  }
}

run "protection_and_last_snapshot_can_be_taken_away" {
  variables {
    termination_protection = false
    delete_backups         = true
  }

  assert {
    condition     = !aws_instance.host.disable_api_termination && !aws_instance.host.disable_api_stop
    error_message = "the host cannot be destroyed."
  }

  assert {
    condition     = !one(aws_ebs_volume.data[*].final_snapshot)
    error_message = "a snapshot is left although nothing should be."
  }
}

run "the_volume_with_the_state_is_snapshotted_each_night_and_a_week_is_kept" {
  assert {
    condition = (
      aws_dlm_lifecycle_policy.state[0].state == "ENABLED" &&
      aws_dlm_lifecycle_policy.state[0].policy_details[0].target_tags["SnapshotsOf"] == "bakeoff" &&
      aws_ebs_volume.data[0].tags["SnapshotsOf"] == "bakeoff"
    )
    error_message = "no policy finds the volume."
  }

  assert {
    condition = one([
      for schedule in aws_dlm_lifecycle_policy.state[0].policy_details[0].schedule :
      "${schedule.create_rule[0].interval} ${schedule.create_rule[0].interval_unit} ${one(schedule.create_rule[0].times)} ${schedule.retain_rule[0].count}"
    ]) == "24 HOURS 03:30 7"
    error_message = "the schedule is not each night at 03:30 with seven kept."
  }

  # The tag by which the role may delete them.
  assert {
    condition     = one(aws_dlm_lifecycle_policy.state[0].policy_details[0].schedule[*].copy_tags)
    error_message = "snapshots cannot be deleted again."
  }

  assert {
    condition     = !can(aws_instance.host.root_block_device[0].tags["SnapshotsOf"])
    error_message = "the system's volume is snapshotted too."
  }
}

run "the_role_of_the_snapshots_reads_one_volume_and_deletes_its_own_snapshots_alone" {
  assert {
    condition = one([
      for statement in jsondecode(aws_iam_role_policy.snapshots[0].policy).Statement : statement.Resource if statement.Sid == "Create"
    ])[0] == "arn:aws:ec2:eu-central-1:123456789012:volume/vol-0a"
    error_message = "the role can copy other volumes."
  }

  assert {
    condition = one([
      for statement in jsondecode(aws_iam_role_policy.snapshots[0].policy).Statement : statement.Condition if statement.Sid == "Delete"
    ]) == { StringEquals = { "aws:ResourceTag/SnapshotsOf" = "bakeoff" } }
    error_message = "the role can delete snapshots of others."
  }

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.snapshots[0].policy).Statement :
      [for action in statement.Action : !strcontains(action, "*")]
    ]))
    error_message = "the role has a wildcard."
  }

  assert {
    condition = one(jsondecode(aws_iam_role.snapshots[0].assume_role_policy).Statement).Condition.StringEquals == {
      "aws:SourceAccount" = "123456789012"
    }
    error_message = "a policy of another account can use the role."
  }

  assert {
    condition     = !can(regex("napshot|Volume", aws_iam_role_policy.host.policy))
    error_message = "whoever takes over the host can reach the snapshots."
  }
}

run "without_snapshots_there_is_nothing_of_them" {
  variables {
    snapshot_count = 0
  }

  assert {
    condition     = length(aws_dlm_lifecycle_policy.state) + length(aws_iam_role.snapshots) + length(aws_iam_role_policy.snapshots) == 0
    error_message = "there is a policy or a role."
  }
}

run "the_host_reaches_the_web_and_nothing_else" {
  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_egress_rule.web) : "${rule.ip_protocol} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["tcp 443-443", "tcp 80-80"])
    error_message = "another port is open outwards."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.database) == 0
    error_message = "a database is reached although there is none."
  }
}

run "a_host_that_pulls_its_images_needs_no_plain_http" {
  variables {
    image_registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
  }

  assert {
    condition     = keys(aws_vpc_security_group_egress_rule.web) == ["https"]
    error_message = "plain HTTP is open outwards."
  }
}

run "a_database_is_reached_by_its_port_and_only_where_it_is" {
  variables {
    database_port              = 6432
    database_cidrs             = ["10.0.7.0/24", "2001:db8:7::/48"]
    database_security_group_id = "sg-0db"
    secret_parameters          = { DATABASE_URL = "/bakeoff/database-url" }
  }

  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_egress_rule.database) : join(" ", compact([
        rule.description, "${rule.from_port}-${rule.to_port}", rule.cidr_ipv4, rule.cidr_ipv6, rule.referenced_security_group_id,
      ]))
      ]) == toset([
      "database 6432-6432 10.0.7.0/24", "database 6432-6432 2001:db8:7::/48", "database 6432-6432 sg-0db",
    ])
    error_message = "the database is not reached, or something else is."
  }
}

# --- costs -----------------------------------------------------------------------------------------------------------

run "costs_are_those_of_the_table_in_the_readme" {
  assert {
    condition = strcontains(file("README.md"), join(" | ", [
      "| Frankfurt", output.monthly_cost_usd.fixed.host, output.monthly_cost_usd.fixed.disks, output.monthly_cost_usd.fixed.address,
      output.monthly_cost_usd.fixed.alarms, "${output.monthly_cost_usd.sum} |",
    ]))
    error_message = "README.md does not have the row of ${jsonencode(output.monthly_cost_usd)}."
  }
}

run "costs_of_virginia_are_those_of_the_table_in_the_readme" {
  variables {
    region = "us-east-1"
  }

  assert {
    condition = strcontains(file("README.md"), join(" | ", [
      "| Virginia", output.monthly_cost_usd.fixed.host, output.monthly_cost_usd.fixed.disks, output.monthly_cost_usd.fixed.address,
      output.monthly_cost_usd.fixed.alarms, "${output.monthly_cost_usd.sum} |",
    ]))
    error_message = "README.md does not have the row of ${jsonencode(output.monthly_cost_usd)}."
  }
}

run "a_price_that_is_missing_is_no_guess" {
  variables {
    instance_type = "m7i.large"
  }

  assert {
    condition     = output.monthly_cost_usd.fixed.host == null && output.monthly_cost_usd.sum == null
    error_message = "there is a sum without the price of the host."
  }
}

run "a_price_of_yours_counts_instead" {
  variables {
    instance_type   = "m7i.large"
    list_prices_usd = { "m7i.large" = 0.1, gp3 = 1 }
    public_ip       = false
    alarms          = false
  }

  assert {
    condition     = output.monthly_cost_usd.fixed == { host = "73.00", disks = "40.00", address = "0.00", alarms = "0.00" } && output.monthly_cost_usd.sum == "113"
    error_message = "the costs are ${jsonencode(output.monthly_cost_usd)}."
  }
}

# --- a host without a data volume, as earlier releases made it; and replacements --------------------------------------

run "a_newer_image_is_told_with_each_plan_and_changes_nothing" {
  variables {
    ami_id = "ami-0fedcba9876543210"
  }

  expect_failures = [check.host_image]

  assert {
    condition     = aws_instance.host.ami == "ami-0123456789abcdef0"
    error_message = "the host was replaced unasked."
  }
}

run "a_replacement_gets_the_image_and_the_same_volume" {
  variables {
    ami_id           = "ami-0fedcba9876543210"
    data_snapshot_id = "snap-0a"
  }

  plan_options {
    replace = [aws_instance.host]
  }

  assert {
    condition     = aws_instance.host.ami == "ami-0fedcba9876543210"
    error_message = "the new host has the old image."
  }

  assert {
    condition     = one(aws_ebs_volume.data[*].snapshot_id) != "snap-0a" && one(aws_volume_attachment.data[*].volume_id) == "vol-0a"
    error_message = "the state is on another volume."
  }
}

run "a_subnet_in_another_zone_is_refused_before_the_host_is_gone" {
  command = plan

  variables {
    ami_id    = "ami-0fedcba9876543210"
    subnet_id = "subnet-0c"
  }

  override_data {
    target = data.aws_subnet.host
    values = { vpc_id = "vpc-0a", availability_zone = "eu-central-1c", map_public_ip_on_launch = true }
  }

  expect_failures = [aws_volume_attachment.data]
}

run "without_a_data_volume_the_host_s_own_is_snapshotted" {
  variables {
    ami_id         = "ami-0fedcba9876543210"
    data_volume_gb = null
  }

  override_resource {
    target = aws_instance.host
    values = { id = "i-0a", root_block_device = [{ volume_id = "vol-0root" }] }
  }

  assert {
    condition     = length(aws_ebs_volume.data) + length(aws_volume_attachment.data) == 0
    error_message = "there is a data volume."
  }

  assert {
    condition     = aws_instance.host.root_block_device[0].tags["SnapshotsOf"] == "bakeoff"
    error_message = "no policy finds the volume."
  }
}
