# What the function stands on: its queues, its output topic, its records, its role, its log.

provider "alicloud" {
  region = var.region
}

data "alicloud_account" "current" {}

resource "alicloud_message_service_queue" "dead_letters" {
  queue_name               = "hpo-requests-dead"
  message_retention_period = 604800
}

resource "alicloud_message_service_queue" "requests" {
  queue_name               = "hpo-requests"
  visibility_timeout       = 900
  message_retention_period = 604800

  dlq_policy {
    enabled                  = true
    dead_letter_target_queue = alicloud_message_service_queue.dead_letters.queue_name
    max_receive_count        = 100
  }
}

resource "alicloud_message_service_topic" "results" {
  topic_name = "hpo-results"
}

resource "alicloud_ots_instance" "records" {
  name        = var.instance
  description = "Records of hpoq"
}

resource "alicloud_ots_table" "records" {
  instance_name = alicloud_ots_instance.records.name
  table_name    = "hpoq"
  max_version   = 1
  time_to_live  = 3024000

  primary_key {
    name = "key"
    type = "String"
  }
}

resource "alicloud_ram_role" "function" {
  role_name                   = "hpoq"
  description                 = "What the function hpoq may do"
  assume_role_policy_document = file("${path.module}/../policies/function-trust.json")
}

resource "alicloud_ram_policy" "function" {
  policy_name     = "hpoq-function"
  policy_document = file("${path.module}/../policies/function.json")
}

resource "alicloud_ram_role_policy_attachment" "function" {
  role_name   = alicloud_ram_role.function.role_name
  policy_name = alicloud_ram_policy.function.policy_name
  policy_type = "Custom"
}

resource "alicloud_log_project" "hpoq" {
  project_name = var.log_project
}

resource "alicloud_log_store" "hpoq" {
  project_name     = alicloud_log_project.hpoq.project_name
  logstore_name    = "hpoq"
  retention_period = 30
}

resource "alicloud_log_store_index" "hpoq" {
  project  = alicloud_log_project.hpoq.project_name
  logstore = alicloud_log_store.hpoq.logstore_name

  full_text {}
}
