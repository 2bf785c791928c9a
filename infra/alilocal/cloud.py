"""The local cloud: services, clock, faults and log of one account in one region."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from functools import cached_property, lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from alilocal.core.behaviour import Behaviour
from alilocal.core.changes import Changes
from alilocal.core.clock import CloudClock, TimeSource
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.faults import Fault, Faults
from alilocal.core.http import Broken, Request, Response, ServiceError
from alilocal.core.ids import Ids
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.notes import Notes
from alilocal.core.ram import Policy
from alilocal.core.requestlog import LoggedRequest, RequestLog
from alilocal.core.service import UNKNOWN_OPERATION, Route, Service
from alilocal.core.snapshot import BadSnapshot, dump, load, member
from alilocal.core.world import Sent, World
from alilocal.eventbridge.model import Buses
from alilocal.eventbridge.routes import EventBridge
from alilocal.paiautoml.model import Experiment
from alilocal.paiautoml.routes import PaiAutoMl
from alilocal.smq.routes import Smq
from alilocal.smq.store import Queues, Topics
from alilocal.sts.routes import Sts
from alilocal.tablestore.model import Tables
from alilocal.tablestore.routes import Tablestore

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

    from alilocal.control.control import Control
    from alilocal.core.adapter import LocalAdapter
    from alilocal.eventstream.stream import EventStream
    from alilocal.fc.store import Functions

ACCOUNT_ID = "1000000000000001"
ACCESS_KEY_ID = "alilocal-access-key-id"
ACCESS_KEY_SECRET = "alilocal-access-key-secret"  # noqa: S105 - well known, opens nothing
SECURITY_TOKEN = "alilocal-security-token"  # noqa: S105
REGION = "cn-local"
ENDPOINT = "http://localhost"
SNAPSHOT_FORM = 1
Roles = dict[str, tuple[Policy, ...] | None]


class LocalCloud:
    """A cloud in this process.

    `session()` or `adapter()` reach it without a port, `alilocal.serve` puts it on one. Every request is
    verified against its credentials: `access_key_id` and `access_key_secret`, with or without
    `security_token`, and what is registered in `credentials`.

    `clock` is any object with `now()` in seconds since the epoch; `seed` makes ids and chance repeat.
    """

    def __init__(
        self, *, clock: TimeSource | None = None, seed: int | None = None, region: str = REGION
    ) -> None:
        self.region = region
        self.account_id = ACCOUNT_ID
        self.access_key_id = ACCESS_KEY_ID
        self.access_key_secret = ACCESS_KEY_SECRET
        self.security_token = SECURITY_TOKEN
        self.endpoint = ENDPOINT
        """Where clients on a session of this cloud send to; any host would do, but many take plain http for
        the loopback interface only."""
        self.changed = Changes()
        """The lock of all state, notified of every change."""
        self.clock = CloudClock(self.changed, clock)
        self._seed = seed
        self._notes = Notes()
        self.streams: list[EventStream] = []
        """The event streams that were made for this cloud."""
        self._build()

    def _build(self) -> None:
        self.ids = Ids(self._seed)
        self.behaviour = Behaviour()
        self.credentials = Credentials()
        self.credentials.add(
            Credential(ACCESS_KEY_ID, ACCESS_KEY_SECRET, ACCOUNT_ID, security_token=SECURITY_TOKEN)
        )
        world = World(
            self.region,
            self.account_id,
            self.clock,
            self.ids,
            self.behaviour,
            self.credentials,
            self.changed,
            self._notes,
            self._call_function,
        )
        self._journal = world.journal
        self._paiautoml = PaiAutoMl(world)
        self._smq = Smq(world)
        self._tablestore = Tablestore(world)
        self._eventbridge = EventBridge(world, self._smq.queues)
        self._services: tuple[Service, ...] = (
            self._tablestore,
            Sts(world),
            self._eventbridge,
            self._paiautoml,
            self._smq,
        )
        self.faults = Faults(self.ids, {service.name: service.operations for service in self._services})
        self.requests = RequestLog()

    @property
    def services(self) -> Sequence[Service]:
        return self._services

    @property
    def experiments(self) -> list[Experiment]:
        """Every experiment, oldest first, deleted ones included."""
        return self._paiautoml.experiments.all()

    @property
    def queues(self) -> Queues:
        return self._smq.queues

    @property
    def topics(self) -> Topics:
        return self._smq.topics

    @property
    def journal(self) -> Sequence[Sent]:
        """The newest messages that were put into queues, oldest first."""
        return self._journal

    @property
    def buses(self) -> Buses:
        return self._eventbridge.buses

    @property
    def tables(self) -> Tables:
        return self._tablestore.tables

    @cached_property
    def _control(self) -> Control:
        from alilocal.control.control import Control

        return Control(self)

    @cached_property
    def functions(self) -> Functions:
        """Functions, whose instances are processes; they outlive `reset` and are in no snapshot."""
        from alilocal.fc.store import Functions

        return Functions(self)

    def reset(self) -> None:
        """Forget everything: resources, faults, switches, registered keys, log; not the time."""
        self._recycle()
        with self.changed:
            self._build()
            self.changed.notify_all()

    def snapshot(self) -> JsonObject:
        """All state as JSON: resources, messages, faults, switches, keys, the clock's advance; not the log.

        Secrets in experiments' configurations are masked; messages and registered keys are as they are. What an
        event stream holds is noted, for whoever loads it has no such stream: there it is visible again.
        """
        with self.changed:
            return {
                "alilocal": SNAPSHOT_FORM,
                "time": self.clock.now(),
                "advanced": self.clock.advanced,
                "ids": self.ids.dump(),
                "behaviour": dump(self.behaviour),
                "credentials": dump(self.credentials.all(), list[Credential]),
                "roles": dump(self.credentials.roles, Roles),
                "faults": dump(self.faults.all(), list[Fault]),
                "held": self._held(),
                "services": {service.name: service.dump() for service in self._services},
            }

    def load(self, document: JsonObject) -> None:
        """Have the state of a snapshot in place of everything; raises BadSnapshot, having changed nothing.

        The clock goes on from where the snapshot stood, or from the present if that is later.
        """
        if document.get("alilocal") != SNAPSHOT_FORM:
            raise BadSnapshot("alilocal", f"must be {SNAPSHOT_FORM}, the form of a snapshot")
        self._recycle()
        with self.changed:
            before = dict(self.__dict__)
            try:
                self._build()
                self._restore(document)
            except BaseException:
                self.__dict__.update(before)
                raise
            self.changed.notify_all()

    def _restore(self, document: JsonObject) -> None:
        moment = load(float, member(document, "time"), "time")
        advanced = load(float, member(document, "advanced"), "advanced")
        for credential in load(list[Credential], member(document, "credentials"), "credentials"):
            self.credentials.add(credential)
        self.credentials.roles = load(Roles, document.get("roles", {}), "roles")
        for name, value in vars(load(Behaviour, member(document, "behaviour"), "behaviour")).items():
            setattr(self.behaviour, name, value)
        self.faults.restore(load(list[Fault], member(document, "faults"), "faults"))
        self.ids.restore(load(dict[str, JsonValue], document.get("ids", {}), "ids"))
        services = load(dict[str, JsonValue], member(document, "services"), "services")
        for service in self._services:
            if service.name in services:
                service.restore(load(dict[str, JsonValue], services[service.name], service.name))
        held = load(dict[str, list[str]], document.get("held", {}), "held")
        for queue in self.queues:
            for message_id in held.get(queue.name, ()):
                queue.show(message_id)
        try:
            self.clock.resume(moment, advanced)
        except ValueError as exc:
            raise BadSnapshot("time", str(exc)) from None

    def _held(self) -> JsonObject:
        held: dict[str, JsonValue] = {}
        for stream in self.streams:
            if stream.held_ids:
                held[stream.queue_name] = [*stream.held_ids]
        return held

    def _call_function(self, name: str, event: bytes) -> bool:
        if "functions" not in self.__dict__ or name not in self.functions:
            return False
        self.functions[name].trigger_async(event)
        return True

    def _recycle(self) -> None:
        """End idle instances, whose keys will not be known any more."""
        if "functions" in self.__dict__:
            self.functions.recycle()

    def close(self) -> None:
        """Stop event streams, let long polls end at once, and end the instances of functions; idempotent."""
        for stream in list(self.streams):
            stream.stop(0)
        if "functions" in self.__dict__:
            self.functions.close()
        with self.changed:
            self.changed.closed = True
            self.changed.notify_all()

    def adapter(self) -> LocalAdapter:
        """A transport for `requests.Session.mount`."""
        from alilocal.core.adapter import LocalAdapter

        return LocalAdapter(self.handle)

    def session(self) -> requests.Session:
        """A session all of whose requests come here, whatever their host."""
        import requests

        session = requests.Session()
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, self.adapter())
        return session

    def handle(self, request: Request) -> Response:
        """Answer `request` at the cloud's own time; raises Broken where a fault leaves it without an answer."""
        answer = self._handle(request)
        date = ("Date", _http_date(int(self.clock.now())))
        return Response(answer.status, (*answer.headers, date), answer.body, answer.cut, answer.drip)

    def _handle(self, request: Request) -> Response:
        if request.path.startswith(("/_alilocal", "/_console")):
            return self._control.handle(request)
        service = next((service for service in self._services if service.owns(request)), None)
        if service is None:
            return Response(
                404, (("Content-Type", "text/plain"),), b"No service of the local cloud is here.\n"
            )
        found = service.find(request)
        operation = found[0].operation if found else UNKNOWN_OPERATION
        self._notes.begin()
        with self.changed:
            fault = self.faults.take(service.name, operation)
            request_id = service.new_request_id()
        exchange = _Exchange(service, request, found, request_id)
        try:
            answer = self._answer(exchange, fault)
        except Broken:
            self._log(exchange, operation, _Answer(None, None), fault)
            raise
        self._log(exchange, operation, answer, fault)
        return answer.response or Response(500)

    def _answer(self, exchange: _Exchange, fault: Fault | None) -> _Answer:
        if fault is None:
            return self._acted(exchange)
        if fault.when == "before":
            return exchange.struck(fault, None)
        return exchange.struck(fault, self._acted(exchange).response)

    def _acted(self, exchange: _Exchange) -> _Answer:
        with self.changed:
            self.changed.count += 1
            return exchange.acted()

    def _log(self, exchange: _Exchange, operation: str, answer: _Answer, fault: Fault | None) -> None:
        note = self._notes.current
        self.requests.add(
            LoggedRequest(
                exchange.service.name,
                operation,
                answer.response.status if answer.response else None,
                answer.code,
                exchange.request_id,
                self.clock.now(),
                fault.kind if fault else None,
                note.caller,
                note.detail,
                frozenset(note.keys),
                frozenset(note.mentions),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@lru_cache(maxsize=4)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


class _Answer(NamedTuple):
    """An answer, if there was one, and the error code that it tells."""

    response: Response | None
    code: str | None


class _Exchange(NamedTuple):
    """A request on its way through its service."""

    service: Service
    request: Request
    found: tuple[Route, dict[str, str]] | None
    request_id: str

    def acted(self) -> _Answer:
        """What the service answers."""
        try:
            return _Answer(self.service.answer(self.request, self.found, self.request_id), None)
        except ServiceError as error:
            return self._refused(error)

    def struck(self, fault: Fault, answer: Response | None) -> _Answer:
        """What the fault makes of the answer; raises Broken."""
        try:
            return _Answer(fault.apply(answer), None)
        except ServiceError as error:
            return self._refused(error)

    def _refused(self, error: ServiceError) -> _Answer:
        return _Answer(self.service.render_error(error, self.request, self.request_id), error.code)
