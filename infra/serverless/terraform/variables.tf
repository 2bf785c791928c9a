variable "region" {
  description = "The region of all resources."
  type        = string
  default     = "cn-hangzhou"
}

variable "name" {
  description = "The end of every name, so that one account can have several deployments; empty if there is only one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "Must be 2 to 20 lower-case letters, digits and hyphens."
  }
}

variable "instance" {
  description = "Name of the Tablestore instance to create; unique in the region."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z][-a-zA-Z0-9]{1,14}[a-zA-Z0-9]$", var.instance))
    error_message = "Must be 3 to 16 letters, digits and hyphens, beginning with a letter."
  }
}

variable "action_policy" {
  description = "The action policy of the log service that sends alerts; every account has the default one."
  type        = string
  default     = "sls.builtin"
}

variable "contact_group" {
  description = "The contact group of CloudMonitor that is notified of alarms; every account has the default one."
  type        = string
  default     = "云账号报警联系人"
}

variable "package" {
  description = "The code package that `hpoq package` writes."
  type        = string
  default     = "../../../dist/hpoq-python3.12-x86_64.zip"
}

variable "releases" {
  description = "Names of the published versions. A new name publishes the present code; removing a name deletes its version."
  type        = set(string)
}

variable "live" {
  description = "The release that the trigger calls."
  type        = string

  validation {
    condition     = contains(var.releases, var.live)
    error_message = "Must be one of the releases."
  }
}

variable "canary" {
  description = "The release that takes the share canary_weight of the calls, if any."
  type        = string
  default     = null
  nullable    = true

  validation {
    condition     = var.canary == null || (var.canary != var.live && contains(var.releases, coalesce(var.canary, " ")))
    error_message = "Must be one of the releases, and not the live one."
  }
}

variable "canary_weight" {
  description = "The canary's share of the calls."
  type        = number
  default     = 0.1

  validation {
    condition     = var.canary_weight > 0 && var.canary_weight < 1
    error_message = "Must be more than 0 and less than 1."
  }
}

variable "service_linked_roles" {
  description = "Whether to create the roles by which EventBridge reads SMQ and calls functions. An account has them as soon as its first such trigger exists; they belong to the account, not to this deployment alone."
  type        = bool
  default     = false
}
