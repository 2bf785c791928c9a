# The log, and what reads it.

locals {
  index = jsondecode(file("${path.module}/../sls/index.json"))
  dashboard = jsondecode(templatefile("${path.module}/../sls/dashboard.json", {
    logstore = local.function.functionName
    function = local.function.functionName
  }))
}

resource "alicloud_log_project" "hpoq" {
  project_name = var.log_project
}

resource "alicloud_log_store" "hpoq" {
  project_name     = alicloud_log_project.hpoq.project_name
  logstore_name    = local.function.functionName
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
