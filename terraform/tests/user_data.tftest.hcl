# The user data of a host's first boot, and the effect of changes on a running host.

mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  edge_cidrs     = ["203.0.113.0/24"]
  release_url    = "https://releases.example.com/bakeoff-1.0.tar.gz"
  release_sha256 = "0000000000000000000000000000000000000000000000000000000000000001"
}

run "the_user_data_holds_no_secret" {
  variables {
    secret_parameters = { ADMIN_TOKEN = "/bakeoff/admin-token" }
    settings          = { MODEL_V2_WEIGHT = "10" }
  }

  assert {
    condition     = !can(regex("(TOKEN|SECRET|PASSWORD)=['\"]?[^/'\"\\s]", aws_instance.host.user_data))
    error_message = "the user data contains a secret."
  }

  assert {
    condition     = strcontains(aws_instance.host.user_data, "ADMIN_TOKEN=/bakeoff/admin-token\n")
    error_message = "the user data do not name the parameter of the secret."
  }

  assert {
    condition     = strcontains(aws_instance.host.user_data, "MODEL_V2_WEIGHT=10\n")
    error_message = "the user data do not contain the settings."
  }
}

run "the_dashboard_stays_on_the_host_where_no_network_may_open_it" {
  assert {
    condition     = strcontains(aws_instance.host.user_data, "UI_OPEN='no'\n")
    error_message = "the host would publish the dashboard."
  }
}

run "the_dashboard_is_published_where_a_network_may_open_it" {
  variables {
    ui_cidrs = ["203.0.113.0/24"]
  }

  # Replaces the host, because user data are ignored on a running one.
  plan_options {
    replace = [aws_instance.host]
  }

  assert {
    condition     = strcontains(aws_instance.host.user_data, "UI_OPEN='yes'\n")
    error_message = "the host would not publish the dashboard."
  }
}

run "a_newer_image_or_user_data_does_not_touch_the_host" {
  variables {
    release_url = "https://releases.example.com/bakeoff-2.0.tar.gz"
    ami_id      = "ami-0fedcba9876543210"
  }

  # It is said with each plan.
  expect_failures = [check.host_image]

  assert {
    condition     = strcontains(aws_instance.host.user_data, "bakeoff-1.0.tar.gz")
    error_message = "the running host was changed by a new release."
  }
}
