"""Powertools' idempotency is imported without boto3, as on Function Compute."""

from fcruntime.powertools import idempotency_without_boto3

idempotency_without_boto3()
