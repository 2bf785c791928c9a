"""The state of a local cloud, the dispatch of its requests, and its snapshots.

`Cloud` knows the services and nothing above them. Functions, event streams, the control API and the console are
built on it; `alilocal.localcloud.LocalCloud` puts them together. The path of a request:

    transport (adapter, connections) -> Cloud.handle -> Faults.take -> Exchange.act -> Service.answer -> RequestLog

All state is guarded by one lock, `changed`, which is also notified of every change that a thread may wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from alilocal.core import foreign
from alilocal.core.clock import Changes, CloudClock, TimeSource
from alilocal.core.credentials import (
    ACCESS_KEY_ID,
    ACCESS_KEY_SECRET,
    ACCOUNT_ID,
    REGION,
    SECURITY_TOKEN,
    Credential,
    Credentials,
)
from alilocal.core.exchange import Answer, Exchange, LateRequests
from alilocal.core.faults import Fault, Faults, Kind
from alilocal.core.http import Broken, Request, Response
from alilocal.core.ids import Ids
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.limits import Limit, Limits
from alilocal.core.ram import Policy
from alilocal.core.requestlog import LoggedRequest, Notes, RequestLog
from alilocal.core.rpc import read_parameters
from alilocal.core.service import Service
from alilocal.core.snapshot import BadSnapshot, dump, load, member
from alilocal.core.world import Journal, World
from alilocal.eventbridge.model import Buses
from alilocal.fc.functionhost import FunctionHost
from alilocal.paiautoml.model import Experiment
from alilocal.services import Behaviour, Services, make_services
from alilocal.smq.model import Queues, Topics
from alilocal.tablestore.model import Tables

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

    from alilocal.core.adapter import LocalAdapter
    from alilocal.core.delivery import Delivery, Stream

ENDPOINT = "http://localhost"
SNAPSHOT_FORM = 1
Roles = dict[str, tuple[Policy, ...] | None]


class Cloud:
    """The services of one account in one region, with their clock, faults and request log.

    Use `LocalCloud`, which adds functions and the console.
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
        """The endpoint for clients on a session of this cloud. Any host would work, but many clients accept plain
        http for the loopback interface only."""
        self.url: str | None = None
        """The address of the port on which the cloud is served, or None if it is on no port."""
        self.changed = Changes()
        """The lock of all state, notified of every change."""
        self.clock = CloudClock(self.changed, clock)
        self._seed = seed
        self._notes = Notes()
        self.title = "alilocal"
        """The title of the console's pages."""
        self.sample_message = "{}"
        """The message that the console's form suggests; set it to one that the function understands."""
        self.explain_message: Callable[[str, str], Sequence[str]] | None = None
        """Returns sentences on the state of a message, by its id and body, for the console. The first one is the
        summary. A cloud does not know what a function does with its messages, so the function's owner sets this."""
        self.recover_message: Callable[[str, str | None], Sequence[str]] | None = None
        """Returns the messages to send again for a dead letter, none if it cannot be sent again. It gets the body of
        the dead letter, and the id that the message had if its queue's dead-letter policy moved it."""
        self.visitors: list[Credential] = []
        """Keys that are valid too, but belong to somebody else: they are in no snapshot and in no list."""
        self.streams: list[Stream] = []
        """The event streams that were made for this cloud."""
        self.past_deliveries: dict[str, list[Delivery]] = {}
        """The deliveries of an earlier process, by the name of the queue, for the streams that will be made."""
        self._build()

    def _build(self) -> None:
        """Make everything that `reset` renews. Running it again is the reset: nothing can be forgotten."""
        self.ids = Ids(self._seed)
        self.behaviour = Behaviour()
        self.credentials = Credentials(self.visitors)
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
            self.call_function,
        )
        self._journal = world.journal
        self._services = make_services(world, self.function_host)
        operations = {service.name: service.operations for service in self._services}
        self.faults = Faults(self.ids, operations, self.clock.now)
        self.limits = Limits(self.clock, operations)
        self.requests = RequestLog()
        self._late = LateRequests(self.clock, self.changed)

    @property
    def services(self) -> Services:
        """All services, also by name: `cloud.services.smq`."""
        return self._services

    @property
    def experiments(self) -> Sequence[Experiment]:
        """All experiments of PAI AutoML, oldest first, deleted ones included."""
        return self._services.paiautoml.experiments.list()

    @property
    def queues(self) -> Queues:
        """The queues of SMQ."""
        return self._services.smq.queues

    @property
    def topics(self) -> Topics:
        """The topics of SMQ."""
        return self._services.smq.topics

    @property
    def journal(self) -> Journal:
        """The newest messages that were put into queues, oldest first."""
        return self._journal

    @property
    def buses(self) -> Buses:
        """The event buses of EventBridge."""
        return self._services.eventbridge.buses

    @property
    def tables(self) -> Tables:
        """The tables of Tablestore."""
        return self._services.tablestore.tables

    # Hooks for functions, which a cloud by itself does not run.

    def function_host(self) -> FunctionHost:
        """Return what runs the functions of Function Compute."""
        raise NotImplementedError("functions need a LocalCloud")

    def resume_functions(self) -> None:
        """Start the triggers of functions again. Called without the lock."""

    def call_function(self, name: str, event: bytes) -> bool:  # noqa: ARG002
        """Call a function asynchronously, and return False if there is none of that name."""
        return False

    def kill_instance(self, instance_id: str) -> None:
        """Kill the instance of a function with that id, if there is one."""

    def recycle_functions(self) -> None:
        """End idle instances and triggers, because the cloud is about to forget them. Called without the lock."""

    def close_functions(self) -> None:
        """End all instances of functions."""

    def reset(self) -> None:
        """Delete everything: resources, faults, limits, switches, keys, the log. Time and functions stay."""
        self.recycle_functions()
        with self.changed:
            self._build()
            self.changed.notify_all()

    def snapshot(self) -> JsonObject:
        """Return all state as JSON: resources, messages, faults, limits, switches, keys, and the clock's advance.

        The log and the requests that are still to be delivered late are left out. Secrets in experiments'
        configurations are masked; messages and registered keys are not. The messages that an event stream holds are
        listed, because a cloud that loads the snapshot has no such stream and must show them again.
        """
        with self.changed:
            return {
                "alilocal": SNAPSHOT_FORM,
                "time": self.clock.now(),
                "advanced": self.clock.advanced,
                "ids": self.ids.dump(),
                "behaviour": dump(self.behaviour),
                "credentials": dump(self.credentials.list(), list[Credential]),
                "roles": dump(self.credentials.roles, Roles),
                "faults": dump(self.faults.list(), list[Fault]),
                "limits": dump(self.limits.list(), list[Limit]),
                "held": self._held(),
                "services": {service.name: service.dump() for service in self._services},
            }

    def load(self, document: JsonObject) -> None:
        """Replace all state by that of a snapshot; raises BadSnapshot, and then nothing has changed.

        The clock continues from the snapshot's time, or from the present if that is later.
        """
        if not isinstance(document, dict) or document.get("alilocal") != SNAPSHOT_FORM:
            raise BadSnapshot("alilocal", f"must be {SNAPSHOT_FORM}, the form of a snapshot")
        self.recycle_functions()
        try:
            with self.changed:
                before = dict(self.__dict__)
                try:
                    self._build()
                    self._restore(document)
                except BaseException:
                    self.__dict__.update(before)
                    raise
                self.changed.notify_all()
        finally:
            self.resume_functions()

    def _restore(self, document: JsonObject) -> None:
        moment = load(float, member(document, "time"), "time")
        advanced = load(float, member(document, "advanced"), "advanced")
        for credential in load(list[Credential], member(document, "credentials"), "credentials"):
            self.credentials.add(credential)
        self.credentials.roles = load(Roles, document.get("roles", {}), "roles")
        # The services hold the object itself, so its members are set one by one.
        for name, value in vars(load(Behaviour, member(document, "behaviour"), "behaviour")).items():
            setattr(self.behaviour, name, value)
        self.faults.restore(load(list[Fault], member(document, "faults"), "faults"))
        self.limits.restore(load(list[Limit], document.get("limits", []), "limits"))
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

    def close(self) -> None:
        """Stop event streams, end long polls at once, and end the instances of functions; idempotent."""
        for stream in list(self.streams):
            stream.stop(0)
        self.close_functions()
        with self.changed:
            self.changed.closed = True
            self.changed.notify_all()

    def adapter(self) -> LocalAdapter:
        """Return a transport for `requests.Session.mount`."""
        from alilocal.core.adapter import LocalAdapter

        return LocalAdapter(self.handle)

    def session(self) -> requests.Session:
        """Return a session that sends every request to this cloud, whatever its host."""
        import requests

        session = requests.Session()
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, self.adapter())
        return session

    def handle(self, request: Request) -> Response:
        """Answer `request` with a date; raises Broken if a fault leaves it without an answer.

        After the clock was advanced an answer has no date, as RFC 9110 demands of a server without a reliable clock.
        Callers compare it with their own clocks: some follow the advance and some do not, and a caller may backdate
        its request, so its own date does not say which.
        """
        self.deliver_late()
        answer = self.dispatch(request)
        dates = () if self.clock.advanced else (("Date", _http_date(int(self.clock.sent_at()))),)
        return Response(answer.status, (*answer.headers, *dates), answer.body, answer.cut, answer.drip)

    def dispatch(self, request: Request) -> Response:
        """Hand `request` to the service that owns it, apply a fault if one is due, and log the call."""
        service = self._owner(request)
        if service is None:
            return self._refuse(request)
        self._notes.begin()
        with self.changed:
            exchange = Exchange(service, request, service.find(request), service.new_request_id())
            fault = self.faults.take(service.name, exchange.operation, exchange.request_id)
        try:
            answer = self._answer(exchange, fault)
        except Broken:
            self._log(exchange, Answer(None, None), fault.kind if fault else None)
            raise
        self._log(exchange, answer, fault.kind if fault else None)
        return answer.response or Response(500)

    def _refuse(self, request: Request) -> Response:
        """Answer a request that no service owns. If it means a service that is not here, it is logged."""
        parameters = read_parameters(request)
        meant = foreign.identify(request, parameters)
        if meant is None or meant.service in (service.name for service in self._services):
            return Response(
                404, (("Content-Type", "text/plain"),), b"No service of the local cloud takes this request.\n"
            )
        with self.changed:
            request_id = self.ids.request_id()
        self.log_foreign(meant, request_id, 400)
        return foreign.refuse(request, meant, request_id, parameters.get("Format"))

    def log_foreign(
        self, meant: foreign.Foreign, request_id: str, status: int | None, code: str = foreign.CODE
    ) -> None:
        """Log a call that no service here has answered."""
        now = self.clock.now()
        self.requests.add(LoggedRequest(meant.service, meant.operation, status, code, request_id, now))

    @property
    def late(self) -> Sequence[float]:
        """The moments at which the requests that faults hold back are due, earliest first."""
        return self._late.moments

    def deliver_late(self) -> int:
        """Deliver the late requests that are due, and return how many there were.

        Every call does so before it is answered. Each request is checked as it was sent, at the present time: its
        date may have expired, and its nonce may have been used. The answers are discarded.
        """
        count = 0
        while (request := self._late.take_due()) is not None:
            self._deliver(request)
            count += 1
        return count

    def _owner(self, request: Request) -> Service | None:
        return next((service for service in self._services if service.owns(request)), None)

    def _deliver(self, request: Request) -> None:
        service = self._owner(request)
        if service is None:
            return
        self._notes.begin()
        exchange = Exchange(service, request, service.find(request), service.new_request_id())
        self._log(exchange, self._act(exchange), "late")

    def _answer(self, exchange: Exchange, fault: Fault | None) -> Answer:
        """Answer a request; `fault` decides how far it gets, and what the caller sees of the answer."""
        if fault is None:
            return self._act(exchange)
        if fault.is_delivered_late:
            self._late.add(exchange.request, fault.seconds or 0.0)
        if fault.kind == "copy" or fault.when == "after":
            answer = self._act(exchange)
            if fault.kind == "copy":
                return answer
            self._kill_caller(fault)
            return exchange.apply_fault(fault, answer.response)
        uses_nonce = fault.is_throttling and self.behaviour.throttled_nonce == "used"
        if fault.when == "forwarded" or uses_nonce:
            admitted = self._act(exchange.forwarded())
            # The gateway comes before the service, whose errors a refused call never sees.
            if admitted.code is not None and fault.kind == "status":
                return admitted
        self._kill_caller(fault)
        return exchange.apply_fault(fault, None)

    def _kill_caller(self, fault: Fault) -> None:
        caller = self._notes.current.caller
        if fault.kind == "kill" and caller is not None:
            self.kill_instance(caller)

    def _act(self, exchange: Exchange) -> Answer:
        with self.changed:
            self.changed.count += 1
            called = (exchange.service.name, exchange.operation)
            if not self.limits.take(*called):
                return self._throttle(exchange)
            answer = exchange.act()
            if answer.code is not None and self._notes.current.caller is None:
                self.limits.give_back(*called)
            return answer

    def _throttle(self, exchange: Exchange) -> Answer:
        """Refuse a call that is one too many; a switch says whether the gateway checks it first."""
        if self.behaviour.throttled_nonce == "used":
            admitted = exchange.forwarded().act()
            if admitted.code is not None:
                return admitted
        return exchange.throttle()

    def _log(self, exchange: Exchange, answer: Answer, fault: Kind | None) -> None:
        note = self._notes.current
        self.requests.add(
            LoggedRequest(
                exchange.service.name,
                exchange.operation,
                answer.response.status if answer.response else None,
                answer.code,
                exchange.request_id,
                self.clock.now(),
                fault,
                note.caller,
                note.detail,
                frozenset(note.keys),
                frozenset(note.mentions),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@lru_cache(maxsize=4)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
