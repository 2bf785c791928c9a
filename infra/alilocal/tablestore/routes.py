"""The service Tablestore and the list of its operations: each is a POST to the path of its name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.requestlog import LoggedRequest
from alilocal.core.service import UNKNOWN_OPERATION, Call, Found, Handler, Route, Service, not_supported
from alilocal.core.snapshot import dump, load, member
from alilocal.core.view import PLAIN, Trace
from alilocal.core.world import World
from alilocal.tablestore import wire
from alilocal.tablestore.calls import Calls
from alilocal.tablestore.errors import (
    AuthFailed,
    BodyTooLarge,
    MethodNotAllowed,
    NoPermission,
    NotEnoughCapacity,
    NotHere,
    ParameterInvalid,
    TooFrequent,
)
from alilocal.tablestore.messages import (
    BatchRequest,
    CreateTableRequest,
    GetRangeRequest,
    GetRowRequest,
    TableInBatchWriteRowRequest,
    TableMeta,
    TableRequest,
    WriteRowRequest,
)
from alilocal.tablestore.model import Table, Tables
from alilocal.tablestore.proto import Message
from alilocal.tablestore.row_calls import IF_ABSENT, RowCalls
from alilocal.tablestore.signature import VERSION, Signatures
from alilocal.tablestore.switches import TablestoreSwitches

_MOST_BODY_BYTES = 5 * 1024 * 1024
_MISSING = {
    "CreateTable": "encryption is ignored; a stream is described, but cannot be read; indexes are refused",
    "UpdateTable": "a stream is described, but cannot be read",
    **dict.fromkeys(("ListSearchIndex", "ListTimeseriesTable"), "there are none, so the list is empty"),
}
_TRANSACTIONS = {
    **dict.fromkeys(("PutRow", "UpdateRow", "DeleteRow"), WriteRowRequest.TRANSACTION_ID),
    "GetRow": GetRowRequest.TRANSACTION_ID,
    "GetRange": GetRangeRequest.TRANSACTION_ID,
    "BatchWriteRow": BatchRequest.TRANSACTION_ID,
}
"""The number of the member that names a transaction."""
_TRACES = {"PutRow": Trace("saved", creates=True), "UpdateRow": Trace("saved"), "GetRow": Trace("read")}
_OF_BATCH = ("BatchGetRow", "BatchWriteRow")
# The other operations of tablestore 6.4.8.
_UNSUPPORTED = """
AbortTransaction AddDocuments AddMemories ApplyMemoryDreamActions CancelMemoryDreamTask CommitTransaction
ComputeSplitPointsBySize ComputeSplits CreateIndex CreateKnowledgeBase CreateMemoryDreamTask CreateMemoryStore
CreateSearchIndex CreateTimeseriesTable DeleteDocuments DeleteKnowledgeBase DeleteMemory DeleteMemoryStore
DeleteSearchIndex DeleteTimeseriesMeta DeleteTimeseriesTable DescribeKnowledgeBase DescribeSearchIndex
DescribeTimeseriesTable DropIndex GetDocument GetMemory GetMemoryDreamTask GetMemoryStore GetMemoryTask
GetTimeseriesData ListChunks ListDocuments ListKnowledgeBase ListMemories ListMemoryDreamActions
ListMemoryDreamTasks ListMemoryStoreMessages ListMemoryStoreRequests ListMemoryStoreScopes ListMemoryStores
ListMemoryTasks ParallelScan PutTimeseriesData QueryTimeseriesMeta
Retrieve SQLQuery Search SearchMemories StartLocalTransaction UpdateChunks UpdateDocument UpdateKnowledgeBase
UpdateMemory UpdateMemoryStore UpdateSearchIndex UpdateTimeseriesMeta UpdateTimeseriesTable
"""
_FEATURES = {
    **dict.fromkeys(("StartLocalTransaction", "CommitTransaction", "AbortTransaction"), "transactions"),
    **dict.fromkeys(("CreateIndex", "DropIndex"), "secondary indexes"),
    **dict.fromkeys(
        ("ListStream", "DescribeStream", "GetShardIterator", "GetStreamRecord"), "records of streams"
    ),
    **{
        name: "search indexes"
        for name in _UNSUPPORTED.split()
        if name in ("Search", "ParallelScan") or "SearchIndex" in name
    },
}
"""What the local cloud lacks, by the operation that needs it."""


class Tablestore(Service):
    """Tables and rows."""

    name = "tablestore"
    title = "Tablestore 2015-12-31"
    unsupported = tuple(_UNSUPPORTED.split())
    usual_codes = ("OTSConditionCheckFail",)

    def __init__(self, world: World[TablestoreSwitches]) -> None:
        self.tables = Tables(world.clock)
        self._world = world
        self._signatures = Signatures(world)
        tables, rows = Calls(self.tables, world.clock), RowCalls(self.tables, world.notes, world.behaviour)
        operations: Mapping[str, Callable[[Message], bytes]] = {
            "CreateTable": tables.create,
            "DescribeTable": tables.describe,
            "ListTable": tables.list,
            "UpdateTable": tables.update,
            "DeleteTable": tables.delete,
            "ListSearchIndex": tables.list_search_indexes,
            "ListTimeseriesTable": tables.list_timeseries_tables,
            "PutRow": rows.put,
            "UpdateRow": rows.update,
            "DeleteRow": rows.delete,
            "GetRow": rows.get,
            "GetRange": rows.get_range,
            "BatchGetRow": rows.batch_get,
            "BatchWriteRow": rows.batch_write,
        }
        super().__init__([self._route(name, act) for name, act in operations.items()])
        self._by_path = {route.path: route for route in self.routes}

    def owns(self, request: Request) -> bool:
        """Return whether the request has the header that every request for Tablestore must have."""
        return request.header("x-ots-apiversion") is not None

    def find(self, request: Request) -> Found | None:
        """Return the route by the path, which is the operation's name."""
        route = self._by_path.get(request.path) if request.method == "POST" else None
        return None if route is None else (route, {})

    def new_request_id(self) -> str:
        return self._world.ids.uuid()

    def check_request(self, request: Request, found: Found | None) -> None:  # noqa: ARG002
        if request.method != "POST":
            raise MethodNotAllowed
        if len(request.body) > _MOST_BODY_BYTES:
            raise BodyTooLarge

    def verify(self, request: Request) -> Credential:
        caller = self._signatures.verify(request)
        if request.header("x-ots-apiversion") != VERSION:
            raise ParameterInvalid("Invalid API version.")
        return caller

    def operation_named(self, request: Request) -> str:
        name = request.path.strip("/")
        return name if name in (*self.unsupported, *_FEATURES) else UNKNOWN_OPERATION

    def unknown_operation(self, request: Request) -> ServiceError:
        name = request.path.strip("/")
        if name in _FEATURES:
            return NotHere(_FEATURES[name], name)
        if name in self.unsupported:
            return ParameterInvalid(not_supported(name))
        return ParameterInvalid(f"Unsupported operation: '{name}'.")

    def permission(self, route: Route, call: Call) -> Permission:
        """Return the permission; https://help.aliyun.com/en/tablestore/configure-user-permissions."""
        instance = (call.request.header("x-ots-instancename") or "").lower()
        place = f"acs:ots:{self._world.region}:{self._world.account_id}:instance/{instance}"
        tables = [f"{place}/table/{name}" for name in _tables_named(route.operation, _message(call.request))]
        return Permission((f"ots:{route.operation}",), tuple(tables) or (place,))

    def denied(self, permission: Permission) -> ServiceError:  # noqa: ARG002 - the service does not name it
        return NoPermission()

    def throttled(self, operation: str) -> ServiceError:
        return TooFrequent() if operation.endswith("Table") else NotEnoughCapacity()

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        body = wire.error_body(error)
        try:
            headers = self._signatures.signed(request, self._signatures.verify(request), body, request_id)
        except (AuthFailed, ParameterInvalid):
            # An answer to a request that is not signed cannot be signed either.
            headers = (("x-ots-requestid", request_id),)
        return Response(error.status, (*headers, *error.headers), body)

    def dump(self) -> JsonObject:
        return {"tables": dump([self.tables.get(name) for name in self.tables.list()], list[Table])}

    def restore(self, state: JsonObject) -> None:
        place = f"{self.name}.tables"
        tables = load(list[Table], member(state, "tables", self.name), place, clock=self._world.clock)
        self.tables.restore(tables)

    def describe(self, request: LoggedRequest) -> tuple[str, str]:
        """Return what a call did; a conditional PutRow is how clients claim or save a record."""
        if request.operation != "PutRow":
            return super().describe(request)
        refused = request.code in self.usual_codes
        if request.detail == IF_ABSENT:
            return ("already claimed" if refused else "claimed"), ""
        return ("changed meanwhile" if refused else "saved"), ""

    def _route(self, name: str, act: Callable[[Message], bytes]) -> Route:
        missing, trace = _MISSING.get(name, ""), _TRACES.get(name, PLAIN)
        handler = self._handler(act, _TRANSACTIONS.get(name))
        return Route(name, "POST", f"/{name}", handler, missing=missing, trace=trace)

    def _handler(self, act: Callable[[Message], bytes], transaction: int | None) -> Handler:
        def handler(call: Call) -> Response:
            message = _message(call.request)
            if transaction is not None and message.data(transaction):
                raise NotHere("transactions", "a call in a transaction")
            body = act(message)
            headers = self._signatures.signed(call.request, call.caller, body, call.request_id)
            return Response(200, headers, body)

        return handler


def _message(request: Request) -> Message:
    """Return the message in the body of a request, which may be compressed; raises BodyTooLarge."""
    kind = request.header("x-ots-request-compress-type")
    return Message(request.body if kind is None else _decompressed(request, kind))


def _decompressed(request: Request, kind: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(request.body, _MOST_BODY_BYTES + 1)
    except zlib.error:
        data = b""
    if len(data) > _MOST_BODY_BYTES:
        raise BodyTooLarge
    size = request.header("x-ots-request-compress-size")
    if kind.lower() != "deflate" or not stream.eof or size != str(len(data)):
        raise ParameterInvalid("The compressed request is not well-formed.")
    return data


def _tables_named(operation: str, request: Message) -> list[str]:
    """Return the names of the tables in a request."""
    if operation in ("ListTable", "ListTimeseriesTable"):
        return []
    if operation == "CreateTable":
        return [request.message(CreateTableRequest.TABLE_META).text(TableMeta.TABLE_NAME)]
    if operation not in _OF_BATCH:
        return [request.text(TableRequest.TABLE_NAME)]
    tables = request.messages(BatchRequest.TABLES)
    return [table.text(TableInBatchWriteRowRequest.TABLE_NAME) for table in tables]
