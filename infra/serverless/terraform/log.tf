# The log, with its index, dashboard and alerts.

locals {
  index = jsondecode(file("${path.module}/../sls/index.json"))
  dashboard = jsondecode(templatefile("${path.module}/../sls/dashboard.json", {
    logstore = local.function.logConfig.logstore
    function = local.function.functionName
  }))
  alerts = { for alert in jsondecode(file("${path.module}/../sls/alerts.json")) : alert.name => alert }
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

# What all alerts have in common is also in sls/template.py.
resource "alicloud_sls_alert" "hpoq" {
  for_each = local.alerts

  project_name = alicloud_log_project.hpoq.project_name
  alert_name   = each.value.name
  display_name = each.value.title
  description  = each.value.description

  schedule {
    type           = "FixedRate"
    interval       = "5m"
    delay          = 30
    run_immdiately = true
  }

  configuration {
    version          = "2.0"
    type             = "default"
    dashboard        = alicloud_log_dashboard.hpoq.dashboard_name
    auto_annotation  = true
    send_resolved    = true
    threshold        = 1
    no_data_fire     = false
    no_data_severity = 6

    query_list {
      store_type     = "log"
      region         = var.region
      project        = alicloud_log_project.hpoq.project_name
      store          = local.function.logConfig.logstore
      query          = each.value.query
      time_span_type = "Relative"
      start          = each.value.start
      end            = "now"
      power_sql_mode = "disable"
    }

    group_configuration {
      type   = "no_group"
      fields = []
    }

    severity_configurations {
      severity = each.value.severity
      eval_condition {
        condition       = each.value.condition
        count_condition = ""
      }
    }

    labels {
      key   = "function"
      value = local.function.functionName
    }

    annotations {
      key   = "title"
      value = each.value.title
    }

    annotations {
      key   = "desc"
      value = each.value.description
    }

    policy_configuration {
      alert_policy_id  = "sls.builtin.dynamic"
      action_policy_id = var.action_policy
      repeat_interval  = "1h"
    }
  }
}
