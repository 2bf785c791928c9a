# One description for both tools: what s.yaml and resources.yaml say is what Terraform creates.

locals {
  described = replace(
    replace(file("${path.module}/../s.yaml"), "$${vars.region}", var.region),
    "$${vars.instance}", var.instance
  )
  function = yamldecode(local.described).resources.function.props
  trigger  = one(local.function.triggers)
  base     = yamldecode(file("${path.module}/../resources.yaml")).Resources

  queue        = local.base.Requests.Properties
  dead_letters = local.base.DeadLetters.Properties
  topic        = local.base.Results.Properties
  table        = local.base.Records.Properties
  role         = local.base.Role.Properties
}
