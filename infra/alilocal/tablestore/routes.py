"""The operations of Tablestore: each a POST to the path of its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.service import Call, Handler, Route, Service
from alilocal.core.snapshot import dump, load, member
from alilocal.core.world import World
from alilocal.tablestore.errors import (
    AuthFailed,
    BodyTooLarge,
    MethodNotAllowed,
    NoPermission,
    ParameterInvalid,
    TooManyTables,
)
from alilocal.tablestore.model import Options, Table, Tables
from alilocal.tablestore.proto import Message, encode
from alilocal.tablestore.rows import Rows
from alilocal.tablestore.signatures import VERSION, Signatures
from alilocal.tablestore.unsupported import UNSUPPORTED

_MOST_TABLES = 64
_MOST_BODY_BYTES = 5 * 1024 * 1024
_MISSING = {
    "CreateTable": "streams, indexes and encryption are ignored",
    "UpdateTable": "streams are ignored",
}
_OF_BATCH = ("BatchGetRow", "BatchWriteRow")
_AUTO_INCREMENT = 1


class Tablestore(Service):
    """Tables and rows."""

    name = "tablestore"
    title = "Tablestore 2015-12-31"
    unsupported = UNSUPPORTED

    def __init__(self, world: World) -> None:
        self.tables = Tables(world.clock)
        self._world = world
        self._signatures = Signatures(world.credentials, world.clock)
        rows = Rows(self.tables, world.notes, world.behaviour)
        operations: dict[str, Callable[[Message], bytes]] = {
            "CreateTable": self._create,
            "DescribeTable": self._describe,
            "ListTable": self._list,
            "UpdateTable": self._update,
            "DeleteTable": self._delete,
            "PutRow": rows.put,
            "UpdateRow": rows.update,
            "DeleteRow": rows.delete,
            "GetRow": rows.get,
            "GetRange": rows.get_range,
            "BatchGetRow": rows.batch_get,
            "BatchWriteRow": rows.batch_write,
        }
        super().__init__(
            [
                Route(name, "POST", f"/{name}", self._call(act), missing=_MISSING.get(name, ""))
                for name, act in operations.items()
            ]
        )
        self._by_path = {route.path: route for route in self.routes}

    def owns(self, request: Request) -> bool:
        return request.header("x-ots-apiversion") is not None

    def find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        """By its path, which is its name."""
        route = self._by_path.get(request.path) if request.method == "POST" else None
        return None if route is None else (route, {})

    def new_request_id(self) -> str:
        return self._world.ids.uuid()

    def answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, request_id: str
    ) -> Response:
        if request.method != "POST":
            raise MethodNotAllowed
        if len(request.body) > _MOST_BODY_BYTES:
            raise BodyTooLarge
        caller = self._signatures.verify(request)
        if request.header("x-ots-apiversion") != VERSION:
            raise ParameterInvalid("Invalid API version.")
        if found is None:
            raise ParameterInvalid(f"Unsupported operation: '{request.path.strip('/')}'.")
        route, params = found
        call = Call(request, params, caller, request_id)
        self.authorize(route, call)
        return route.handler(call)

    def permission(self, route: Route, call: Call) -> Permission:
        """Resources: https://help.aliyun.com/en/tablestore/configure-user-permissions."""
        instance = (call.request.header("x-ots-instancename") or "").lower()
        place = f"acs:ots:{self._world.region}:{self._world.account_id}:instance/{instance}"
        tables = [f"{place}/table/{name}" for name in _tables_named(route.operation, call.request.body)]
        return Permission((f"ots:{route.operation}",), tuple(tables) or (place,))

    def denied(self, permission: Permission) -> ServiceError:  # noqa: ARG002 - the service does not tell
        return NoPermission()

    def dump(self) -> JsonObject:
        return {"tables": dump([self.tables.get(name) for name in self.tables.list()], list[Table])}

    def restore(self, state: JsonObject) -> None:
        place = f"{self.name}.tables"
        tables = load(list[Table], member(state, "tables", self.name), place, clock=self._world.clock)
        self.tables.restore(tables)

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        body = encode({1: error.code, 2: error.message})
        try:
            headers = self._signatures.signed(request, self._signatures.verify(request), body, request_id)
        except (AuthFailed, ParameterInvalid):
            headers = (("x-ots-requestid", request_id),)
        return Response(error.status, (*headers, *error.headers), body)

    def _call(self, act: Callable[[Message], bytes]) -> Handler:
        def handler(call: Call) -> Response:
            body = act(Message(call.request.body))
            return Response(
                200, self._signatures.signed(call.request, call.caller, body, call.request_id), body
            )

        return handler

    def _create(self, request: Message) -> bytes:
        meta, options = request.message(1), _options(request.message(3), Options())
        keys = meta.messages(2)
        schema, defined = _columns(keys), _columns(meta.messages(3))
        numbered = [column.text(1) for column in keys if column.number(3) == _AUTO_INCREMENT]
        if len(numbered) > 1:
            raise ParameterInvalid("Only one column of a primary key can be numbered.")
        automatic = numbered[0] if numbered else None
        name = meta.text(1)
        if len(self.tables.list()) >= _MOST_TABLES and name not in self.tables.list():
            raise TooManyTables
        table = self.tables.create(name, schema, options, automatic=automatic, defined=defined)
        table.throughput = _throughput(request.message(2))
        return b""

    def _describe(self, request: Message) -> bytes:
        table = self.tables.get(request.text(1))
        option = {3: _AUTO_INCREMENT}
        schema = [
            encode({1: name, 2: kind, **(option if name == table.automatic else {})})
            for name, kind in table.schema
        ]
        defined = [encode({1: name, 2: kind}) for name, kind in table.defined]
        meta = encode({1: table.name, 2: schema, 3: defined})
        return encode({1: meta, 2: _reserved(table), 3: _told(table)})

    def _list(self, _request: Message) -> bytes:
        return encode({1: [name.encode() for name in self.tables.list()]})

    def _update(self, request: Message) -> bytes:
        table = self.tables.get(request.text(1))
        if request.has(3):
            table.options = _options(request.message(3), table.options)
        if request.has(2):
            table.throughput = _throughput(request.message(2))
        return encode({1: _reserved(table), 2: _told(table)})

    def _delete(self, request: Message) -> bytes:
        self.tables.delete(request.text(1))
        return b""


def _tables_named(operation: str, body: bytes) -> list[str]:
    """The tables that a request names."""
    request = Message(body)
    if operation == "ListTable":
        return []
    if operation == "CreateTable":
        return [request.message(1).text(1)]
    return [one.text(1) for one in request.messages(1)] if operation in _OF_BATCH else [request.text(1)]


def _columns(declared: Sequence[Message]) -> list[tuple[str, int]]:
    """Columns by name and type."""
    return [(column.text(1), column.number(2)) for column in declared]


def _options(given: Message, before: Options) -> Options:
    options = Options(
        given.number(1, before.time_to_live),
        given.number(2, before.max_versions),
        given.number(5, before.deviation),
        bool(given.number(6, before.allow_update)),
    )
    options.check()
    return options


def _throughput(reserved: Message) -> tuple[int, int]:
    units = reserved.message(1)
    return units.number(1), units.number(2)


def _reserved(table: Table) -> bytes:
    read, write = table.throughput
    return encode({1: encode({1: read, 2: write}), 2: 0})


def _told(table: Table) -> bytes:
    options = table.options
    return encode(
        {1: options.time_to_live, 2: options.max_versions, 5: options.deviation, 6: int(options.allow_update)}
    )
