variable "region" {
  description = "Region of everything; the queue and the function must share it."
  type        = string
  default     = "cn-hangzhou"
}

variable "name" {
  description = "Ends every name, so that several deployments live in one account; empty for the only one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "Must be 2 to 20 small letters, digits and hyphens."
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
  description = "Names of the published versions. A name that is added publishes the code as it then is; one that is taken away deletes its version."
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
  description = "Whether to create the roles by which EventBridge reads SMQ and calls functions. An account has them once its first such trigger is made; they are the account's, not this deployment's alone."
  type        = bool
  default     = false
}
