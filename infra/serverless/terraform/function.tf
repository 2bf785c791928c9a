# The function, its releases, the alias that tells which of them is called, and the trigger.

resource "alicloud_fcv3_function" "hpoq" {
  function_name = "hpoq"
  # The provider does not notice a changed package by itself; it does notice this text.
  description          = "Queue messages in, PAI AutoML experiments out, exactly once (package ${filesha256(var.package)})"
  runtime              = "python3.10"
  handler              = "hpoq.handler.handler"
  cpu                  = 0.35
  memory_size          = 512
  disk_size            = 512
  timeout              = 240
  instance_concurrency = 1
  role                 = alicloud_ram_role.function.arn

  code {
    zip_file = filebase64(var.package)
  }

  instance_lifecycle_config {
    initializer {
      handler = "hpoq.handler.initialize"
      timeout = 30
    }
    pre_stop {
      handler = "hpoq.handler.pre_stop"
      timeout = 10
    }
  }

  log_config {
    project                 = alicloud_log_project.hpoq.project_name
    logstore                = alicloud_log_store.hpoq.logstore_name
    log_begin_rule          = "DefaultRegex"
    enable_request_metrics  = true
    enable_instance_metrics = true
  }

  environment_variables = {
    HPOQ_STORE                    = "tablestore://${alicloud_ots_instance.records.name}.${var.region}.ots.aliyuncs.com/${alicloud_ots_table.records.table_name}"
    HPOQ_QUEUE                    = alicloud_message_service_queue.requests.queue_name
    HPOQ_OUTPUT                   = "smq://${alicloud_message_service_topic.results.topic_name}"
    HPOQ_BATCH_POLICY             = "requeue"
    HPOQ_REQUEUE_DELAY_SECONDS    = "60"
    HPOQ_MAX_ATTEMPTS             = "60"
    HPOQ_CONCURRENCY              = "16"
    HPOQ_CONNECT_TIMEOUT_SECONDS  = "3"
    HPOQ_READ_TIMEOUT_SECONDS     = "25"
    HPOQ_CALL_ATTEMPTS            = "3"
    HPOQ_LEASE_SECONDS            = "90"
    HPOQ_CLOCK_SKEW_SECONDS       = "10"
    HPOQ_CONSISTENCY_SECONDS      = "15"
    HPOQ_DEADLINE_RESERVE_SECONDS = "3"
    HPOQ_RETENTION_DAYS           = "30"
  }

  depends_on = [alicloud_ram_role_policy_attachment.function, alicloud_log_store_index.hpoq]
}

resource "alicloud_fcv3_function_version" "release" {
  for_each = var.releases

  function_name = alicloud_fcv3_function.hpoq.function_name
  description   = each.value
}

resource "alicloud_fcv3_alias" "live" {
  function_name = alicloud_fcv3_function.hpoq.function_name
  alias_name    = "live"
  version_id    = alicloud_fcv3_function_version.release[var.live].version_id
  additional_version_weight = var.canary == null ? {} : {
    (alicloud_fcv3_function_version.release[var.canary].version_id) = var.canary_weight
  }
}

resource "alicloud_fcv3_trigger" "requests" {
  function_name = alicloud_fcv3_function.hpoq.function_name
  trigger_name  = "requests"
  trigger_type  = "eventbridge"
  qualifier     = alicloud_fcv3_alias.live.alias_name
  trigger_config = jsonencode({
    triggerEnable          = true
    asyncInvocationType    = false # synchronous: the stream sees whether the function failed, and retries
    eventRuleFilterPattern = "{}"
    eventSinkConfig        = { deliveryOption = { eventSchema = "CloudEvents" } }
    eventSourceConfig = {
      eventSourceType = "MNS"
      eventSourceParameters = {
        sourceMNSParameters = {
          RegionId       = var.region
          QueueName      = alicloud_message_service_queue.requests.queue_name
          IsBase64Decode = false
        }
      }
    }
    runOptions = {
      mode            = "event-streaming"
      errorsTolerance = "ALL"
      retryStrategy   = { PushRetryStrategy = "EXPONENTIAL_DECAY_RETRY" }
      batchWindow     = { CountBasedWindow = 16, TimeBasedWindow = 3 }
      deadLetterQueue = {
        Arn = "acs:mns:${var.region}:${data.alicloud_account.current.id}:/queues/${alicloud_message_service_queue.dead_letters.queue_name}"
      }
    }
  })
}
