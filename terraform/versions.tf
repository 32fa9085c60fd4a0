terraform {
  # 1.9: variable validation can refer to other variables; 1.7: mock providers in tests.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ Name = var.name, Application = "bakeoff" }, var.tags)
  }
}
