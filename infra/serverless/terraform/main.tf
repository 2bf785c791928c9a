# The resources that the function needs: its queues, its output topic, its records, its roles.

provider "alicloud" {
  region = var.region
}

data "alicloud_account" "current" {}

resource "alicloud_message_service_queue" "dead_letters" {
  queue_name               = local.dead_letters.QueueName
  message_retention_period = local.dead_letters.MessageRetentionPeriod
}

resource "alicloud_message_service_queue" "requests" {
  queue_name               = local.queue.QueueName
  visibility_timeout       = local.queue.VisibilityTimeout
  message_retention_period = local.queue.MessageRetentionPeriod

  dlq_policy {
    enabled                  = local.queue.DlqPolicy.Enabled
    dead_letter_target_queue = alicloud_message_service_queue.dead_letters.queue_name
    max_receive_count        = local.queue.DlqPolicy.MaxReceiveCount
  }
}

resource "alicloud_message_service_queue" "watch" {
  queue_name               = local.watch.QueueName
  visibility_timeout       = local.watch.VisibilityTimeout
  message_retention_period = local.watch.MessageRetentionPeriod

  dlq_policy {
    enabled                  = local.watch.DlqPolicy.Enabled
    dead_letter_target_queue = alicloud_message_service_queue.dead_letters.queue_name
    max_receive_count        = local.watch.DlqPolicy.MaxReceiveCount
  }
}

resource "alicloud_message_service_topic" "results" {
  topic_name = local.topic.TopicName
}

resource "alicloud_ots_instance" "records" {
  name        = var.instance
  description = local.base.Instance.Properties.Description

  # Without the records every request that comes again creates a second experiment. README.md says how to remove them.
  lifecycle {
    prevent_destroy = true
  }
}

resource "alicloud_ots_table" "records" {
  instance_name = alicloud_ots_instance.records.name
  table_name    = local.table.TableName
  max_version   = local.table.MaxVersions
  time_to_live  = local.table.TimeToLive

  dynamic "primary_key" {
    for_each = local.table.PrimaryKey
    content {
      name = primary_key.value.Name
      type = title(lower(primary_key.value.Type))
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "alicloud_ram_role" "function" {
  role_name                   = local.role.RoleName
  description                 = local.role.Description
  assume_role_policy_document = file("${path.module}/../policies/function-trust.json")
}

resource "alicloud_ram_policy" "function" {
  policy_name     = one(local.role.Policies).PolicyName
  policy_document = jsonencode(one(local.role.Policies).PolicyDocument)
}

resource "alicloud_ram_role_policy_attachment" "function" {
  role_name   = alicloud_ram_role.function.role_name
  policy_name = alicloud_ram_policy.function.policy_name
  policy_type = "Custom"
}

resource "alicloud_resource_manager_service_linked_role" "eventbridge" {
  for_each = toset(var.service_linked_roles ? ["sendevent-fc", "sendevent-mns"] : [])

  service_name = "${each.value}.eventbridge.aliyuncs.com"
}
