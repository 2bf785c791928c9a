# The alarms of CloudMonitor on the services' own metrics.

locals {
  operators = { GreaterThanOrEqualToThreshold = ">=", LessThanOrEqualToThreshold = "<=" }
}

resource "alicloud_cms_alarm" "hpoq" {
  for_each = local.alarms

  name           = each.value.RuleName
  project        = each.value.Namespace
  metric         = each.value.MetricName
  period         = each.value.Period
  silence_time   = each.value.SilenceTime
  contact_groups = [var.contact_group]
  metric_dimensions = replace(
    jsonencode(each.value.Resources), "{\"Ref\":\"ALIYUN::TenantId\"}", jsonencode(data.alicloud_account.current.id)
  )

  dynamic "escalations_critical" {
    for_each = try([each.value.Escalations.Critical], [])
    content {
      comparison_operator = local.operators[escalations_critical.value.ComparisonOperator]
      statistics          = escalations_critical.value.Statistics
      threshold           = escalations_critical.value.Threshold
      times               = escalations_critical.value.Times
    }
  }

  dynamic "composite_expression" {
    for_each = try([each.value.CompositeExpression], [])
    content {
      expression_list_join = composite_expression.value.ExpressionListJoin
      level                = composite_expression.value.Level
      times                = composite_expression.value.Times

      dynamic "expression_list" {
        for_each = composite_expression.value.ExpressionList
        content {
          metric_name         = expression_list.value.MetricName
          comparison_operator = local.operators[expression_list.value.ComparisonOperator]
          statistics          = expression_list.value.Statistics
          threshold           = expression_list.value.Threshold
          period              = expression_list.value.Period
        }
      }
    }
  }
}
