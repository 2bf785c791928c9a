output "smq_endpoint" {
  description = "Endpoint of SMQ, for hpoq send and hpoq redrive."
  value       = "https://${data.alicloud_account.current.id}.mns.${var.region}.aliyuncs.com"
}

output "versions" {
  description = "The version of each release."
  value       = { for name, version in alicloud_fcv3_function_version.release : name => version.version_id }
}
