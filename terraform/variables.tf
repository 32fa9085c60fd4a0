# --- location --------------------------------------------------------------------------------------------------------

variable "region" {
  description = "The AWS region of all resources."
  type        = string
  default     = "eu-central-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of an AWS region, for example eu-central-1."
  }
}

variable "name" {
  description = "The name of the resources; two deployments in one account need different names."
  type        = string
  default     = "bakeoff"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "tags" {
  description = "Tags for each resource, in addition to Name and Application."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "vpc_id" {
  description = "The VPC to use; null means the region's default VPC."
  type        = string
  default     = null

  validation {
    condition     = var.vpc_id == null || can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id must look like vpc-0123456789abcdef0."
  }
}

variable "subnet_id" {
  description = "The host's subnet, which needs internet access; null means a subnet of the VPC in a zone that offers instance_type."
  type        = string
  default     = null

  validation {
    condition     = var.subnet_id == null || can(regex("^subnet-[0-9a-f]+$", var.subnet_id))
    error_message = "subnet_id must look like subnet-0123456789abcdef0."
  }
}

# --- network access --------------------------------------------------------------------------------------------------

variable "edge_cidrs" {
  description = "Networks that may call the API, for example [\"203.0.113.0/24\"]; [] means only through SSM."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.edge_cidrs : can(cidrhost(cidr, 0))])
    error_message = "edge_cidrs must be networks in CIDR notation, for example 203.0.113.0/24."
  }

  validation {
    condition = var.edge_open_to_world || alltrue([
      for cidr in var.edge_cidrs : try(tonumber(split("/", cidr)[1]) >= (strcontains(cidr, ":") ? 16 : 8), true)
    ])
    error_message = "edge_cidrs opens the API to the internet: set edge_open_to_world = true if that is intended."
  }
}

variable "edge_open_to_world" {
  description = "Whether edge_cidrs may contain 0.0.0.0/0 and other very large networks."
  type        = bool
  default     = false
  nullable    = false
}

variable "edge_port" {
  description = "The API's port."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.edge_port == floor(var.edge_port) && var.edge_port >= 1 && var.edge_port <= 65535 && var.edge_port != 22
    error_message = "edge_port must be a port from 1 to 65535, and not 22."
  }

  validation {
    condition     = !contains([var.ui_port, 5001, 9090, 9093, 3000], var.edge_port)
    error_message = "edge_port must not be the port of the dashboard, administration (5001), Prometheus (9090), Alertmanager (9093) or Grafana (3000)."
  }
}

variable "tls_port" {
  description = "The port of the edge proxy's own HTTPS, opened to edge_cidrs; null keeps it closed. The certificate is put on the host."
  type        = number
  default     = null

  validation {
    condition     = var.tls_port == null || try(var.tls_port == floor(var.tls_port) && var.tls_port >= 1 && var.tls_port <= 65535, false)
    error_message = "tls_port must be a port from 1 to 65535."
  }

  validation {
    condition     = var.tls_port == null || !contains([var.edge_port, var.ui_port, 22, 5001, 9090, 9093, 3000], coalesce(var.tls_port, 0))
    error_message = "tls_port must not be edge_port, ui_port, or the port of ssh (22), administration (5001), Prometheus (9090), Alertmanager (9093) or Grafana (3000)."
  }
}

variable "ui_cidrs" {
  description = "Networks that may open the dashboard; [] means only through SSM. The whole internet is not allowed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.ui_cidrs : can(cidrhost(cidr, 0))])
    error_message = "ui_cidrs must be networks in CIDR notation, for example 203.0.113.0/24."
  }

  validation {
    condition = alltrue([
      for cidr in var.ui_cidrs : try(tonumber(split("/", cidr)[1]) >= (strcontains(cidr, ":") ? 16 : 8), true)
    ])
    error_message = "ui_cidrs must not open the dashboard to the internet: it has no login. Use SSM instead (connect_ui)."
  }
}

variable "ui_port" {
  description = "The dashboard's port."
  type        = number
  default     = 8501
  nullable    = false

  validation {
    condition     = var.ui_port == floor(var.ui_port) && var.ui_port >= 1 && var.ui_port <= 65535 && var.ui_port != 22
    error_message = "ui_port must be a port from 1 to 65535, and not 22."
  }

  validation {
    condition     = !contains([5001, 9090, 9093, 3000], var.ui_port)
    error_message = "ui_port must not be the port of administration (5001), Prometheus (9090), Alertmanager (9093) or Grafana (3000)."
  }
}

variable "ssh_public_key" {
  description = "An OpenSSH public key that may log in; null means no key. Without ssh_cidrs it works through SSM only."
  type        = string
  default     = null

  validation {
    condition     = var.ssh_public_key == null || can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+( .*)?$", var.ssh_public_key))
    error_message = "ssh_public_key must be one line in the format of a .pub file. Do not put a private key here."
  }
}

variable "ssh_cidrs" {
  description = "Networks that may connect to port 22; [] keeps it closed. The whole internet is not allowed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrhost(cidr, 0))])
    error_message = "ssh_cidrs must be networks in CIDR notation, for example 203.0.113.7/32."
  }

  validation {
    condition = alltrue([
      for cidr in var.ssh_cidrs : try(tonumber(split("/", cidr)[1]) >= (strcontains(cidr, ":") ? 16 : 8), true)
    ])
    error_message = "ssh_cidrs must not open port 22 to the internet: log in through SSM instead (connect)."
  }

  validation {
    condition     = length(var.ssh_cidrs) == 0 || var.ssh_public_key != null
    error_message = "ssh_cidrs needs ssh_public_key: without a key nobody can log in."
  }
}

variable "database_port" {
  description = "The port of a PostgreSQL server outside of the host, opened outwards to database_cidrs and database_security_group_id alone."
  type        = number
  default     = 5432
  nullable    = false

  validation {
    condition     = var.database_port == floor(var.database_port) && var.database_port >= 1 && var.database_port <= 65535
    error_message = "database_port must be a port from 1 to 65535, as in DATABASE_URL."
  }

  validation {
    condition     = var.database_port == 5432 || var.database_cidrs != null || var.database_security_group_id != null
    error_message = "database_port opens nothing alone: say where the server is, by database_cidrs or database_security_group_id."
  }
}

variable "database_cidrs" {
  description = "Networks of a PostgreSQL server outside of the host, for example [\"10.0.7.0/24\"]; [] or null: none."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for cidr in coalesce(var.database_cidrs, []) : can(cidrhost(cidr, 0))])
    error_message = "database_cidrs must be networks in CIDR notation, for example 10.0.7.0/24; a host is 10.0.7.12/32."
  }

  validation {
    condition = alltrue([
      for cidr in coalesce(var.database_cidrs, []) : try(tonumber(split("/", cidr)[1]) >= (strcontains(cidr, ":") ? 16 : 8), true)
    ])
    error_message = "database_cidrs must not be the internet: name the networks of the server, or its database_security_group_id."
  }

  validation {
    condition = (
      !contains(keys(var.secret_parameters), "DATABASE_URL") || var.database_cidrs != null || var.database_security_group_id != null
    )
    error_message = "secret_parameters has DATABASE_URL, and the host may reach no database: set database_cidrs or database_security_group_id to where that server is, or database_cidrs = [] if it is the service postgres of the stack."
  }
}

variable "database_security_group_id" {
  description = "The security group of a PostgreSQL server outside of the host, as RDS has one; null means none."
  type        = string
  default     = null

  validation {
    condition     = var.database_security_group_id == null || can(regex("^sg-[0-9a-f]+$", var.database_security_group_id))
    error_message = "database_security_group_id must look like sg-0123456789abcdef0."
  }
}

# --- the host --------------------------------------------------------------------------------------------------------

variable "instance_type" {
  description = "The instance type, x86-64 or Graviton; the stack needs 2 GB of memory."
  type        = string
  default     = "t3.small"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must look like t3.small."
  }

  validation {
    condition     = !can(regex("\\.(nano|micro)$", var.instance_type))
    error_message = "instance_type is too small: the stack needs 2 GB of memory."
  }
}

variable "ami_id" {
  description = "The host's AMI; null means the newest Amazon Linux 2023 when the host is created or replaced."
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]+$", var.ami_id))
    error_message = "ami_id must look like ami-0123456789abcdef0."
  }
}

variable "volume_gb" {
  description = "The size of the encrypted gp3 volume with the system, in GB."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.volume_gb == floor(var.volume_gb) && var.volume_gb >= 10 && var.volume_gb <= 1000
    error_message = "volume_gb must be a whole number from 10 to 1000."
  }
}

variable "data_volume_gb" {
  description = "The size of the encrypted gp3 volume with the state, which outlives the host, in GB; null keeps the state with the system."
  type        = number
  default     = 20

  validation {
    condition = var.data_volume_gb == null || try(
      var.data_volume_gb == floor(var.data_volume_gb) && var.data_volume_gb >= 10 && var.data_volume_gb <= 16384, false
    )
    error_message = "data_volume_gb must be a whole number from 10 to 16384, or null for a host without a data volume."
  }
}

variable "data_snapshot_id" {
  description = "The snapshot from which the data volume is made when it is created; null makes an empty one."
  type        = string
  default     = null

  validation {
    condition     = var.data_snapshot_id == null || can(regex("^snap-[0-9a-f]+$", var.data_snapshot_id))
    error_message = "data_snapshot_id must look like snap-0123456789abcdef0."
  }

  validation {
    condition     = var.data_snapshot_id == null || var.data_volume_gb != null
    error_message = "data_snapshot_id needs a data volume: set data_volume_gb, to the size of the snapshot or more."
  }
}

variable "public_ip" {
  description = "Whether the host gets a public address; without one its subnet needs NAT or VPC endpoints. null uses the subnet's setting."
  type        = bool
  default     = null
}

variable "elastic_ip" {
  description = "Whether the host keeps its address when it is stopped or replaced."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.elastic_ip || var.public_ip != false
    error_message = "elastic_ip is a public address and contradicts public_ip = false."
  }
}

variable "termination_protection" {
  description = "Whether AWS refuses to stop or terminate the host; before replacing or destroying it, set this to false and apply."
  type        = bool
  default     = true
  nullable    = false
}

variable "detailed_monitoring" {
  description = "Whether CloudWatch gets the host's metrics every minute, at a charge, instead of every five minutes."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarms" {
  description = "Whether CloudWatch raises alarms for the host's status, disk, memory and missing backups, at a charge."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_email" {
  description = "An address that gets the alarms once it has confirmed AWS's mail; null means that nobody does, unless the topic has other subscriptions."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address."
  }

  validation {
    condition     = var.alarm_email == null || var.alarms
    error_message = "alarm_email needs alarms = true."
  }
}

variable "ship_logs" {
  description = "Whether CloudWatch gets the logs of the containers, the journal and the first boot, at a charge."
  type        = bool
  default     = true
  nullable    = false
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the logs, in days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_retention_days)
    error_message = "log_retention_days must be a retention period that CloudWatch supports: 1, 3, 5, 7, 14, 30, 60, 90, …, 365, …"
  }
}

# --- what runs on it -------------------------------------------------------------------------------------------------

variable "release_url" {
  description = "The URL of the release: a .tar.gz at https://, http:// or s3://."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(https?|s3)://[A-Za-z0-9._~:/?&=%+@-]+$", var.release_url))
    error_message = "release_url must be an https://, http:// or s3:// URL without quotes and spaces."
  }

  validation {
    condition     = !can(regex("://[^/]*@|(?i)[?&](x-amz-|token|sig|key|password)", var.release_url))
    error_message = "release_url must not contain a password, token or signature: it is stored in state and user data. Use s3://."
  }
}

variable "release_sha256" {
  description = "The SHA-256 of the release file, 64 hexadecimal digits; the host rejects any other file."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.release_sha256))
    error_message = "release_sha256 must be 64 lower-case hexadecimal digits (sha256sum FILE)."
  }
}

variable "image_registry" {
  description = "The ECR registry of the images, with an optional prefix, for example 123456789012.dkr.ecr.eu-central-1.amazonaws.com/team; null means that the host builds the images."
  type        = string
  default     = null

  validation {
    condition = (
      var.image_registry == null ||
      can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?(/[a-z0-9._/-]*[a-z0-9])?$", var.image_registry))
    )
    error_message = "image_registry must look like 123456789012.dkr.ecr.eu-central-1.amazonaws.com or …/prefix."
  }
}

variable "image_tag" {
  description = "The tag of the images to pull or build."
  type        = string
  default     = "local"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a valid Docker image tag."
  }
}

variable "compose_url" {
  description = "The URL of the Compose plugin, used if no package provides it; null means the installer's pinned URL."
  type        = string
  default     = null

  validation {
    condition     = var.compose_url == null || can(regex("^https?://[A-Za-z0-9._~:/?&=%+-]+$", var.compose_url))
    error_message = "compose_url must be an https:// or http:// URL without quotes and spaces."
  }
}

variable "compose_sha256" {
  description = "The SHA-256 of the Compose plugin; required with compose_url."
  type        = string
  default     = null

  validation {
    condition     = var.compose_sha256 == null || can(regex("^[0-9a-f]{64}$", var.compose_sha256))
    error_message = "compose_sha256 must be 64 lower-case hexadecimal digits."
  }

  validation {
    condition     = (var.compose_url == null) == (var.compose_sha256 == null)
    error_message = "compose_url and compose_sha256 must be set together."
  }
}

variable "settings" {
  description = "The stack's settings, see .env.example; for example { MODEL_V2_WEIGHT = \"10\" }. Do not put secrets here."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.settings : can(regex("^[A-Z][A-Z0-9_]*$", key)) && can(regex("^[A-Za-z0-9._,:/@%+-]*$", value))
    ])
    error_message = "settings must have names like MODEL_V1_WEIGHT, and values that contain only letters, digits and . _ , : / @ % + -"
  }

  validation {
    condition = alltrue([
      for key in keys(var.settings) : !can(regex("TOKEN|SECRET|PASSWORD|WEBHOOK|DATABASE_URL|_KEY$", key))
    ])
    error_message = "settings must not contain secrets, because state and user data store them: use secret_parameters."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), ["API_PORT", "UI_PORT", "BIND", "ADMIN_BIND", "UI_BIND", "OPERATIONS_BIND", "BAKEOFF_TAG"])) == 0
    error_message = "settings must not contain API_PORT, UI_PORT, BIND, ADMIN_BIND, UI_BIND, OPERATIONS_BIND or BAKEOFF_TAG: the module sets them, from edge_port, ui_port, ui_cidrs and image_tag."
  }
}

variable "secret_parameters" {
  description = "Secret settings, each with the name of an SSM SecureString that the host reads, for example { ADMIN_TOKEN = \"/bakeoff/admin-token\" }. Without ADMIN_TOKEN the host generates one."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, parameter in var.secret_parameters :
      can(regex("^[A-Z][A-Z0-9_]*$", key)) && can(regex("^/[A-Za-z0-9_./-]+$", parameter))
    ])
    error_message = "secret_parameters must map names like ADMIN_TOKEN to parameter names that begin with a slash."
  }
}

# --- backups ---------------------------------------------------------------------------------------------------------

variable "backup_days" {
  description = "How long backups are kept, in days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.backup_days == floor(var.backup_days) && var.backup_days >= 1 && var.backup_days <= 3650
    error_message = "backup_days must be a whole number from 1 to 3650."
  }
}

variable "backup_time" {
  description = "The time of the nightly backup, in UTC, as HH:MM."
  type        = string
  default     = "02:30"
  nullable    = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.backup_time))
    error_message = "backup_time must be HH:MM from 00:00 to 23:59."
  }
}

variable "snapshot_count" {
  description = "How many snapshots of the volume with the state are kept; 0 makes none."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.snapshot_count == floor(var.snapshot_count) && var.snapshot_count >= 0 && var.snapshot_count <= 1000
    error_message = "snapshot_count must be a whole number from 0 (no snapshots) to 1000."
  }
}

variable "snapshot_hours" {
  description = "Hours from one snapshot to the next."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = contains([1, 2, 3, 4, 6, 8, 12, 24], var.snapshot_hours)
    error_message = "snapshot_hours must be an interval that AWS offers: 1, 2, 3, 4, 6, 8, 12 or 24."
  }
}

variable "snapshot_time" {
  description = "The time of the first snapshot of a day, in UTC, as HH:MM; AWS begins within an hour of it."
  type        = string
  default     = "03:30"
  nullable    = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.snapshot_time))
    error_message = "snapshot_time must be HH:MM from 00:00 to 23:59."
  }
}

variable "delete_backups" {
  description = "Whether terraform destroy also deletes the bucket with all backups, and makes no last snapshot."
  type        = bool
  default     = false
  nullable    = false
}

# --- costs -----------------------------------------------------------------------------------------------------------

variable "list_prices_usd" {
  description = "Prices in place of those in prices.tf, or for a region or instance type that is missing there, for example { \"t3.large\" = 0.096 }."
  type        = map(number)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for price in values(var.list_prices_usd) : price >= 0])
    error_message = "list_prices_usd must be prices in USD, 0 or more, by the names that prices.tf has: gp3, address, …, or an instance type."
  }

  validation {
    condition = alltrue([
      for name in keys(var.list_prices_usd) :
      contains(["gp3", "snapshot", "address", "alarm", "metric", "log", "backup"], name) || can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", name))
    ])
    error_message = "list_prices_usd has a name that nothing is priced by: use gp3, snapshot, address, alarm, metric, log, backup, or an instance type."
  }
}
