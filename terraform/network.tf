locals {
  # One rule per port and network. AWS rejects duplicates, such as 10.0.0.0/8 beside 10.1.2.3/8.
  callers = merge(
    { for cidr in var.edge_cidrs : "edge ${cidr}" => { port = var.edge_port, cidr = cidr } },
    { for cidr in var.edge_cidrs : "tls ${cidr}" => { port = var.tls_port, cidr = cidr } if var.tls_port != null },
    { for cidr in var.ui_cidrs : "ui ${cidr}" => { port = var.ui_port, cidr = cidr } },
    { for cidr in var.ssh_cidrs : "ssh ${cidr}" => { port = 22, cidr = cidr } },
  )
  databases = toset(concat(tolist(var.database_cidrs == null ? [] : var.database_cidrs), var.database_security_group_id[*]))
  needs_http = var.image_registry == null || var.ami_id != null || anytrue([
    for url in [var.release_url, coalesce(var.compose_url, "none")] : startswith(url, "http://")
  ])
  subnet_id = var.subnet_id != null ? var.subnet_id : sort(data.aws_subnets.candidates[0].ids)[0]
}

data "aws_vpc" "chosen" {
  count   = var.subnet_id == null ? 1 : 0
  id      = var.vpc_id
  default = var.vpc_id == null ? true : null
}

# Not every availability zone of a region offers every instance type.
data "aws_ec2_instance_type_offerings" "zones" {
  count         = var.subnet_id == null ? 1 : 0
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }
}

data "aws_subnets" "candidates" {
  count = var.subnet_id == null ? 1 : 0

  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.chosen[0].id]
  }

  filter {
    name   = "availability-zone"
    values = data.aws_ec2_instance_type_offerings.zones[0].locations
  }

  lifecycle {
    postcondition {
      condition     = length(self.ids) > 0
      error_message = "The VPC has no subnet in a zone that offers ${var.instance_type}: set subnet_id, or another instance_type."
    }
  }
}

data "aws_subnet" "host" {
  id = local.subnet_id

  lifecycle {
    postcondition {
      condition     = var.vpc_id == null || self.vpc_id == var.vpc_id
      error_message = "subnet_id is not a subnet of vpc_id."
    }
  }
}

resource "aws_security_group" "host" {
  # checkov:skip=CKV2_AWS_5:It is attached to aws_instance.host; the check does not resolve the list.
  name_prefix = "${var.name}-"
  description = "Bakeoff: the API for the given networks, nothing else"
  vpc_id      = data.aws_subnet.host.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each          = local.callers
  security_group_id = aws_security_group.host.id
  description       = split(" ", each.key)[0]
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.cidr, ":") ? null : each.value.cidr
  cidr_ipv6         = strcontains(each.value.cidr, ":") ? each.value.cidr : null
}

# For packages, the release, SSM, CloudWatch, S3 and a webhook, whose addresses nobody can list. HTTP only where Debian's
# packages (in images that the host builds, or as its system), or a URL of yours need it. The VPC's DNS and time servers
# need no rule.
resource "aws_vpc_security_group_egress_rule" "web" {
  for_each          = local.needs_http ? { https = 443, http = 80 } : { https = 443 }
  security_group_id = aws_security_group.host.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "database" {
  for_each                     = local.databases
  security_group_id            = aws_security_group.host.id
  description                  = "database"
  ip_protocol                  = "tcp"
  from_port                    = var.database_port
  to_port                      = var.database_port
  cidr_ipv4                    = can(regex("^[0-9.]+/", each.key)) ? each.key : null
  cidr_ipv6                    = strcontains(each.key, ":") ? each.key : null
  referenced_security_group_id = startswith(each.key, "sg-") ? each.key : null
}
