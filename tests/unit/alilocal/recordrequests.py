"""A pytest plugin that records one request per operation and kind of signature, for `data/requests.jsonl`.

    PYTHONPATH=tests/unit/alilocal pytest -n 0 -p recordrequests tests/contract tests/unit/alilocal

Run it after adding an operation and a test that calls it. Requests that are recorded already stay as they are.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from alilocal.cloud import Cloud
from alilocal.core.http import Request

FILE = Path(__file__).with_name("data") / "requests.jsonl"
MOST_BODY_BYTES = 4096


def read_requests():
    """Yield the recorded requests, each with its service, its operation and its kind of signature."""
    for line in FILE.read_text().splitlines() if FILE.exists() else ():
        row = json.loads(line)
        headers = tuple((name, value) for name, value in row["headers"])
        request = Request(row["method"], row["target"], headers, base64.b64decode(row["body"]))
        yield row["service"], row["operation"], signature_of(request), request


def signature_of(request):
    """Return the kind of signature: the first word of the header, the version of Tablestore's, or parameters."""
    if request.header("x-ots-apiversion"):
        return "ots v4" if request.header("x-ots-signaturev4") else "ots"
    words = (request.header("Authorization") or "parameters").replace(":", " ").split()
    return words[0]


def pytest_configure():
    recorded = {(service, operation, kind): request for service, operation, kind, request in read_requests()}
    answer = Cloud._act

    def record(cloud, exchange):
        made = answer(cloud, exchange)
        request, found = exchange.request, exchange.found
        went_well = made.code is None and found is not None and found[0].supported
        if went_well and len(request.body) <= MOST_BODY_BYTES:
            key = (exchange.service.name, exchange.operation, signature_of(request))
            recorded.setdefault(key, request)
        return made

    Cloud._act = record
    pytest_configure.recorded = recorded


def pytest_unconfigure():
    rows = [
        {
            "service": service,
            "operation": operation,
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": base64.b64encode(request.body).decode(),
        }
        for (service, operation, _), request in sorted(
            pytest_configure.recorded.items(), key=lambda one: one[0]
        )
    ]
    FILE.write_text("".join(json.dumps(row) + "\n" for row in rows))
