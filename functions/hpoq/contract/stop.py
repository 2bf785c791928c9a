"""The stop message: its model.

Few messages are stops, so `hpoq.contract.request` imports this module with the first one. Like all modules with
models it has no `from __future__ import annotations`.
"""

from pydantic import Field

from hpoq.contract.model import ExperimentId, Model, ProducerKey, SchemaUri, SchemaVersion, Trace


class StopTarget(Model):
    """The experiment to stop, named in one of two ways."""

    idempotency_key: ProducerKey | None = Field(
        None,
        alias="idempotencyKey",
        description="The `idempotencyKey` of the request that created the experiment, or the key in its events.",
    )
    experiment_id: ExperimentId | None = Field(
        None, alias="experimentId", description="The id of the experiment."
    )


class StopRequest(Model):
    """A message that stops an experiment.

    Its own `idempotencyKey` identifies the stop, and is never confused with the key of a request.
    """

    stop: StopTarget
    schema_version: SchemaVersion = Field("1", alias="schemaVersion")
    idempotency_key: ProducerKey | None = Field(
        None,
        alias="idempotencyKey",
        description="The key of this stop. Repeated stops are harmless, so it is rarely needed.",
    )
    schema_uri: SchemaUri = None
    traceparent: Trace = None


StopRequest.model_rebuild()
