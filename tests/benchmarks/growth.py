"""B5: claims and completions as the records grow, and the memory of an instance as its events do.

Tablestore is the local cloud's: its row tells of the calls that the store makes, not of the service.
"""

import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness import ENVIRONMENT, REQUEST, TABLESTORE, Peers, Row, child
from stub import in_memory

import alilocal
from alilocal.tablestore.plainbuffer import Cell
from fcruntime import Fc3Context, FunctionInfo
from hpoq.clock import SystemClock
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.function import Function
from hpoq.idempotency.record import Record, State, encode
from hpoq.idempotency.store import Store, open_store
from hpoq.observability import logs
from hpoq.testing import smq_event
from hpoqctl.pipeline import TABLE, create_pipeline

SMALL, SIZES = 1_000, (100_000, 1_000_000)
_CLAIMS = 200


def measure(_: Peers, rounds: int) -> Iterator[Row]:
    """Measure small and large numbers in turns; fewer rounds leave out the largest and most of the events."""
    is_quick = rounds < 5
    for size in SIZES[:1] if is_quick else SIZES:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            for kind, (small, large) in _stores(Path(folder), stack).items():
                yield _grown(kind, small, large, size, max(3, rounds))
    yield from _memory(2_000 if is_quick else 100_000)


def _stores(folder: Path, stack: ExitStack) -> dict[str, tuple[Store, Store]]:
    found = {
        "SQLite": (open_store(f"sqlite:///{folder}/small"), open_store(f"sqlite:///{folder}/large")),
        "Tablestore": (_tablestore(stack), _tablestore(stack)),
    }
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is not None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        command = [program, "--port", str(port), "--save", "", "--dir", str(folder)]
        server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        stack.callback(server.terminate)
        url = f"redis://127.0.0.1:{port}/0?prefix="
        _wait(port)
        found["Redis"] = (open_store(url + "small:"), open_store(url + "large:"))
    return found


def _tablestore(stack: ExitStack) -> Store:
    cloud = stack.enter_context(alilocal.LocalCloud())
    create_pipeline(cloud)
    keys = Credentials(cloud.access_key_id, cloud.access_key_secret)
    transport = Transport(stack.enter_context(cloud.session()), SystemClock())
    store = open_store(f"tablestore://localhost/{TABLE}?instance=local&scheme=http", transport, lambda: keys)
    store.cloud = cloud
    return store


def _wait(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return


def _record() -> Record:
    return Record(str(uuid.uuid4()), State.IN_PROGRESS, "f" * 64, "owner", 1.0, 2.0, 4e9)


def _fill(store: Store, count: int) -> None:
    """Write the records directly, which is faster than claiming their keys."""
    if hasattr(store, "cloud"):
        table = store.cloud.tables.get(TABLE)
        for _ in range(count):
            made = _record()
            cells = {"v": 1, "state": made.state.value, "owner": made.owner, "body": encode(made)}
            table.put((made.key,), [Cell(name, value) for name, value in cells.items()])
        return
    if hasattr(store, "_client"):
        pipeline = store._client.pipeline(transaction=False)
        for number in range(count):
            made = _record()
            pipeline.set(store._prefix + made.key, encode(made))
            if number % 10_000 == 0:
                pipeline.execute()
        pipeline.execute()
        return
    with store._transaction() as connection:
        for _ in range(count):
            store._write(connection, _record())


def _lives(store: Store) -> float:
    """Return the average milliseconds for a claim and its completion."""
    began = time.perf_counter()
    for _ in range(_CLAIMS):
        claim = _record()
        store.insert(claim)
        store.replace(replace(claim, state=State.COMPLETED, event="{}"), claim.version)
    return (time.perf_counter() - began) * 1000 / _CLAIMS


def _grown(kind: str, small: Store, large: Store, size: int, rounds: int) -> Row:
    _fill(small, SMALL)
    _fill(large, size)
    _lives(small), _lives(large)
    pairs = [(_lives(small), _lives(large)) for _ in range(rounds)]
    ratios = [late / early for early, late in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    small.close()
    large.close()
    before, after = (statistics.median(column) for column in zip(*pairs, strict=True))
    note = f"{after:.2f} ms : {before:.2f} ms"
    return Row("B5", f"claim and complete at {size:,} : {SMALL:,}, {kind}", middle, low, high, 1.5, note)


def _memory(events: int) -> Iterator[Row]:
    """Measure in a new process, where no earlier measurement hides the memory that the events take."""
    reported = child(sys.executable, _EVENTS, str(Path(__file__).parent), str(events))
    yield Row(
        "B5",
        f"peak memory after {events:,} events : after a tenth",
        reported["whole"] / reported["tenth"],
        target=1.05,
        note=f"{reported['whole']:.0f} MB : {reported['tenth']:.0f} MB",
    )


_EVENTS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import growth
print(json.dumps(growth.held(int(sys.argv[2]))))
"""


def held(events: int) -> dict[str, float]:
    """Return an instance's peak memory in megabytes, after all its events and after the first tenth."""
    logs.configure("ERROR", sys.stderr)
    session, _ = in_memory()
    environ = {**ENVIRONMENT, "HPOQ_STORE": TABLESTORE}
    function, context = Function(environ, session=session), Fc3Context("r", FunctionInfo(timeout=300))
    tenth = 0.0
    for number in range(events):
        function.handle(smq_event(f"m-{number}", REQUEST), context)
        if number == events // 10:
            tenth = _peak()
    return {"whole": _peak(), "tenth": tenth}


def _peak() -> float:
    """Return this process's peak memory in megabytes. That of getrusage includes the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
