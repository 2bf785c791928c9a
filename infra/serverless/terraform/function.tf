# The function, its releases, the alias that selects the release to call, and the triggers.

resource "alicloud_fcv3_function" "hpoq" {
  function_name = local.function.functionName
  # The provider does not detect a changed package; it does detect that this text has changed.
  description           = "${local.function.description} (package ${filesha256(var.package)})"
  runtime               = local.function.runtime
  handler               = local.function.handler
  cpu                   = local.function.cpu
  memory_size           = local.function.memorySize
  disk_size             = local.function.diskSize
  timeout               = local.function.timeout
  instance_concurrency  = local.function.instanceConcurrency
  role                  = alicloud_ram_role.function.arn
  environment_variables = local.function.environmentVariables

  code {
    zip_file = filebase64(var.package)
  }

  instance_lifecycle_config {
    initializer {
      handler = local.function.instanceLifecycleConfig.initializer.handler
      timeout = local.function.instanceLifecycleConfig.initializer.timeout
    }
    pre_stop {
      handler = local.function.instanceLifecycleConfig.preStop.handler
      timeout = local.function.instanceLifecycleConfig.preStop.timeout
    }
  }

  log_config {
    project                 = alicloud_log_project.hpoq.project_name
    logstore                = alicloud_log_store.hpoq.logstore_name
    log_begin_rule          = local.function.logConfig.logBeginRule
    enable_request_metrics  = local.function.logConfig.enableRequestMetrics
    enable_instance_metrics = local.function.logConfig.enableInstanceMetrics
  }

  depends_on = [
    alicloud_sls_index.hpoq,
    alicloud_ots_table.records,
    alicloud_ram_role_policy_attachment.function,
  ]
}

resource "alicloud_fcv3_function_version" "release" {
  for_each = var.releases

  function_name = alicloud_fcv3_function.hpoq.function_name
  description   = each.value
}

resource "alicloud_fcv3_alias" "live" {
  function_name = alicloud_fcv3_function.hpoq.function_name
  alias_name    = local.triggers["requests"].qualifier
  version_id    = alicloud_fcv3_function_version.release[var.live].version_id
  additional_version_weight = var.canary == null ? {} : {
    (alicloud_fcv3_function_version.release[var.canary].version_id) = var.canary_weight
  }
}

resource "alicloud_fcv3_trigger" "streams" {
  for_each = local.triggers

  function_name = alicloud_fcv3_function.hpoq.function_name
  trigger_name  = each.value.triggerName
  trigger_type  = each.value.triggerType
  qualifier     = alicloud_fcv3_alias.live.alias_name
  trigger_config = replace(
    jsonencode(each.value.triggerConfig), "$${config('AccountID')}", data.alicloud_account.current.id
  )

  depends_on = [
    alicloud_message_service_queue.requests,
    alicloud_message_service_queue.watch,
    alicloud_message_service_topic.results,
    alicloud_resource_manager_service_linked_role.eventbridge,
  ]
}
