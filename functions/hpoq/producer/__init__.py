"""Build requests, check them, and send them to the queue from Python.

    request = build_request(name="mnist", parameters={"lr": loguniform(1e-4, 0.1)}, ...)
    request.check()
    with Queue.open("hpo-requests", "https://ACCOUNT.mns.REGION.aliyuncs.com") as queue:
        sent = queue.send(request, idempotency_key="order-4711")

- `build`: requests, search spaces, and draws from them (`sampling`).
- `queue`: `Queue.send` checks a request before it is sent, one of `build_request` or any document.
- `credentials`: where a producer's credentials come from, apart from the environment.

For producers only: the deployed function does not contain this package.
"""

from hpoq.errors import RequestRejected
from hpoq.producer.build import (
    Option,
    Parameter,
    Request,
    build_request,
    choice,
    lognormal,
    loguniform,
    normal,
    option,
    qlognormal,
    qloguniform,
    qnormal,
    quniform,
    randint,
    uniform,
)
from hpoq.producer.credentials import standard_credentials
from hpoq.producer.queue import Queue, SentRequest

__all__ = [
    "Option",
    "Parameter",
    "Queue",
    "Request",
    "RequestRejected",
    "SentRequest",
    "build_request",
    "choice",
    "lognormal",
    "loguniform",
    "normal",
    "option",
    "qlognormal",
    "qloguniform",
    "qnormal",
    "quniform",
    "randint",
    "standard_credentials",
    "uniform",
]
