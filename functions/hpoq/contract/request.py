"""The request message: its models, and the way from a message body to one."""

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract import rules
from hpoq.contract.config import HpoExperimentConfig
from hpoq.contract.document import WRAPPER_MEMBERS, Located, open_document
from hpoq.contract.finding import MOST_LISTED, Listing
from hpoq.contract.model import Model, few_wrong
from hpoq.contract.patterns import KEY_CHARACTERS
from hpoq.contract.structure import broken_structure, document_order
from hpoq.errors import RequestRejected, Violation


class Tag(Model):
    """A tag of an experiment."""

    key: str | None = Field(None, alias="Key")
    value: str | None = Field(None, alias="Value")


class CreateHpoExperiment(Model):
    """The body of CreateHpoExperiment. Nothing in it is documented as required.

    Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-createhpoexperiment.
    """

    name: str | None = Field(None, alias="Name")
    workspace_id: str | None = Field(None, alias="WorkspaceId")
    description: str | None = Field(None, alias="Description")
    accessibility: Literal["PUBLIC", "PRIVATE"] | None = Field(None, alias="Accessibility")
    tag: Annotated[list[Tag], few_wrong(dict)] | None = Field(None, alias="Tag")
    hpo_experiment_configuration: HpoExperimentConfig | None = Field(None, alias="HpoExperimentConfiguration")

    def marked(
        self, *, extra_tags: Iterable[tuple[str, str]] = (), description_suffix: str = ""
    ) -> JsonObject:
        """The body to send: what the producer wrote, and a marker in the tags or behind the description."""
        document = self.wire()
        extra: list[JsonValue] = [{"Key": key, "Value": value} for key, value in extra_tags]
        if extra:
            document["Tag"] = [*(tag.wire() for tag in self.tag or ()), *extra]
        if description_suffix:
            document["Description"] = f"{self.description or ''} {description_suffix}".lstrip()
        return document


class ExperimentRequest(Model):
    """A request message in its wrapped form."""

    experiment: CreateHpoExperiment
    schema_version: Literal["1"] | None = Field("1", alias="schemaVersion")
    idempotency_key: str | None = Field(
        None,
        alias="idempotencyKey",
        description="Two requests with one key make one experiment. Without it the queue's message id serves.",
        min_length=1,
        max_length=255,
        pattern=f"^{KEY_CHARACTERS}+$",
    )
    traceparent: str | None = Field(
        None, description="A W3C trace context that the event carries on. One that is none is passed over."
    )


# Threads that bring the first messages wait for an import; two of them at once in a model break pydantic up to 2.11.
ExperimentRequest.model_rebuild()


@dataclass(frozen=True)
class ParsedRequest:
    """A valid request. `warnings` name what the service may take but is likely to regret."""

    request: ExperimentRequest
    warnings: tuple[Violation, ...] = ()


def parse_request(body: bytes) -> ParsedRequest:
    """The request in a message body: UTF-8 JSON, or base64 of it.

    Raises RequestRejected with every violation, structure and cross-field rules alike, each placed by a JSON
    pointer into the document as its producer wrote it; beyond MOST_LISTED they are only counted.
    """
    located = open_document(body)
    wrapped, experiment_at = _wrapped(located)
    experiment = wrapped.get("experiment")
    violations, warnings = Listing(), Listing()
    request = _validated(wrapped, violations)
    for finding in chain(rules.judge_message(wrapped), rules.judge_experiment(experiment)):
        (violations if finding.rejects else warnings).add(finding.violation)
    for pointer in request.nulls() if request else ():
        warnings.add(Violation(pointer, "null", "a null member is left out; omit it"))

    place = _mover(located, experiment_at)
    order = document_order(located.value, located.prefix)
    warned = warnings.arranged(place, order)
    if violations.kept or request is None:
        name, workspace_id = _told(experiment)
        raise RequestRejected(
            violations.arranged(place, order), name=name, workspace_id=workspace_id, warnings=warned
        )
    if request.traceparent is None and isinstance(located.trace, str) and rules.is_traceparent(located.trace):
        request = request.model_copy(update={"traceparent": located.trace})
    return ParsedRequest(request, warned)


def _wrapped(located: Located) -> tuple[JsonObject, str]:
    """The document in its wrapped form, and the pointer to what stands as `experiment` in it."""
    document = located.value
    if any(name in document for name in WRAPPER_MEMBERS):
        return document, "/experiment"
    known = {field.alias for field in CreateHpoExperiment.model_fields.values()}
    if not known & document.keys():
        message = (
            "neither a request (an object with `experiment`) nor a body of CreateHpoExperiment "
            "(an object with `HpoExperimentConfiguration`)"
        )
        raise RequestRejected([located.violation("", "document.shape", message)])
    return {"experiment": document}, ""


def _mover(located: Located, experiment_at: str) -> Callable[[Violation], Violation]:
    """From a pointer into the wrapped form to one into the document."""

    def moved(violation: Violation) -> Violation:
        pointer = violation.pointer
        if pointer == "/experiment" or pointer.startswith("/experiment/"):
            pointer = experiment_at + pointer.removeprefix("/experiment")
        return located.violation(pointer, violation.rule, violation.message)

    return moved


def _validated(wrapped: JsonObject, violations: Listing) -> ExperimentRequest | None:
    """The request, without a traceparent that is none; None, and `violations`, where its structure is broken."""
    trace = wrapped.get("traceparent")
    if isinstance(trace, str) and not rules.is_traceparent(trace):
        wrapped = {name: value for name, value in wrapped.items() if name != "traceparent"}
    try:
        return ExperimentRequest.model_validate(wrapped)
    except ValidationError as exc:
        for violation in islice(broken_structure(exc, ExperimentRequest, wrapped), MOST_LISTED):
            violations.add(violation)
        violations.left_out += max(0, exc.error_count() - MOST_LISTED)
        return None


def _told(experiment: JsonValue) -> tuple[str | None, str | None]:
    """Name and workspace, for the error event, as far as they can be read."""
    if not isinstance(experiment, dict):
        return None, None
    name, workspace_id = experiment.get("Name"), experiment.get("WorkspaceId")
    return (
        name if isinstance(name, str) else None,
        workspace_id if isinstance(workspace_id, str) else None,
    )
