# Terraform creates what s.yaml, resources.yaml and alarms.yaml describe, so that both tools share one description.

locals {
  suffix = var.name == "" ? "" : "-${var.name}"

  described = replace(
    replace(
      replace(
        replace(file("${path.module}/../s.yaml"), "$${vars.region}", var.region),
        "$${vars.instance}", var.instance
      ),
      "$${vars.suffix}", local.suffix
    ),
    "$${vars.name}", var.name == "" ? "-" : var.name
  )
  function = yamldecode(local.described).resources.function.props
  triggers = { for one in local.function.triggers : one.triggerName => one }

  # The templates of ROS with its functions evaluated: {"Fn::Sub": "text"} is the text, and a reference its value.
  templates = {
    for file in ["resources", "alarms"] : file => jsondecode(
      replace(
        replace(
          replace(
            jsonencode(yamldecode(
              replace(
                replace(file("${path.module}/../${file}.yaml"), "$${Suffix}", local.suffix),
                "$${Instance}", var.instance
              )
            )),
            "/\\{\"Fn::Sub\":(\"[^\"]*\")\\}/", "$1"
          ),
          "{\"Ref\":\"ALIYUN::Region\"}", jsonencode(var.region)
        ),
        "{\"Ref\":\"Instance\"}", jsonencode(var.instance)
      )
    )
  }
  base   = local.templates.resources.Resources
  alarms = { for name, alarm in local.templates.alarms.Resources : name => alarm.Properties }

  queue        = local.base.Requests.Properties
  watch        = local.base.Watch.Properties
  dead_letters = local.base.DeadLetters.Properties
  topic        = local.base.Results.Properties
  table        = local.base.Records.Properties
  role         = local.base.Role.Properties
}
