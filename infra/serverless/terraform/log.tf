# The log, with its index, dashboard and alerts.

locals {
  index = jsondecode(file("${path.module}/../sls/index.json"))
  dashboard = jsondecode(templatefile("${path.module}/../sls/dashboard.json", {
    logstore = local.function.logConfig.logstore
    function = local.function.functionName
  }))
  alerts = { for alert in local.alert_list : alert.name => alert }
  alert_list = jsondecode(templatefile("${path.module}/../sls/alerts.json", {
    project       = local.function.logConfig.project
    logstore      = local.function.logConfig.logstore
    region        = var.region
    function      = local.function.functionName
    action_policy = var.action_policy
  }))
}

resource "alicloud_log_project" "hpoq" {
  project_name = replace(
    local.function.logConfig.project, "$${config('AccountID')}", data.alicloud_account.current.id
  )
}

resource "alicloud_log_store" "hpoq" {
  project_name     = alicloud_log_project.hpoq.project_name
  logstore_name    = local.function.logConfig.logstore
  retention_period = 30
}

resource "alicloud_sls_index" "hpoq" {
  project_name  = alicloud_log_project.hpoq.project_name
  logstore_name = alicloud_log_store.hpoq.logstore_name
  keys          = jsonencode(local.index.keys)
  max_text_len  = local.index.max_text_len

  line {
    case_sensitive = local.index.line.caseSensitive
    chn            = local.index.line.chn
    token          = local.index.line.token
  }
}

resource "alicloud_log_dashboard" "hpoq" {
  project_name   = alicloud_log_project.hpoq.project_name
  dashboard_name = local.dashboard.dashboardName
  display_name   = local.dashboard.displayName
  attribute      = jsonencode(local.dashboard.attribute)
  char_list      = jsonencode(local.dashboard.charts)

  depends_on = [alicloud_sls_index.hpoq]
}

resource "alicloud_sls_alert" "hpoq" {
  for_each = local.alerts

  project_name = alicloud_log_project.hpoq.project_name
  alert_name   = each.value.name
  display_name = each.value.displayName
  description  = each.value.description

  schedule {
    type           = each.value.schedule.type
    interval       = each.value.schedule.interval
    delay          = each.value.schedule.delay
    run_immdiately = each.value.schedule.runImmediately
  }

  configuration {
    version          = each.value.configuration.version
    type             = each.value.configuration.type
    dashboard        = alicloud_log_dashboard.hpoq.dashboard_name
    auto_annotation  = each.value.configuration.autoAnnotation
    send_resolved    = each.value.configuration.sendResolved
    threshold        = each.value.configuration.threshold
    no_data_fire     = each.value.configuration.noDataFire
    no_data_severity = each.value.configuration.noDataSeverity

    dynamic "query_list" {
      for_each = each.value.configuration.queryList
      content {
        store_type     = query_list.value.storeType
        region         = query_list.value.region
        project        = alicloud_log_project.hpoq.project_name
        store          = query_list.value.store
        query          = query_list.value.query
        time_span_type = query_list.value.timeSpanType
        start          = query_list.value.start
        end            = query_list.value.end
        power_sql_mode = query_list.value.powerSqlMode
      }
    }

    group_configuration {
      type   = each.value.configuration.groupConfiguration.type
      fields = each.value.configuration.groupConfiguration.fields
    }

    dynamic "severity_configurations" {
      for_each = each.value.configuration.severityConfigurations
      content {
        severity = severity_configurations.value.severity
        eval_condition {
          condition       = severity_configurations.value.evalCondition.condition
          count_condition = severity_configurations.value.evalCondition.countCondition
        }
      }
    }

    dynamic "labels" {
      for_each = each.value.configuration.labels
      content {
        key   = labels.value.key
        value = labels.value.value
      }
    }

    dynamic "annotations" {
      for_each = each.value.configuration.annotations
      content {
        key   = annotations.value.key
        value = annotations.value.value
      }
    }

    policy_configuration {
      alert_policy_id  = each.value.configuration.policyConfiguration.alertPolicyId
      action_policy_id = each.value.configuration.policyConfiguration.actionPolicyId
      repeat_interval  = each.value.configuration.policyConfiguration.repeatInterval
    }
  }
}
