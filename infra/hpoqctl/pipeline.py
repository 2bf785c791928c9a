"""The pipeline in a local cloud: its queues, topic and table, and the function with its environment and streams."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import alilocal
import hpoq
from alilocal.core.credentials import ACCESS_KEY_ID, ACCESS_KEY_SECRET
from alilocal.tablestore.model import STRING
from hpoq.cloud.signing import Credentials

if TYPE_CHECKING:
    from alilocal.eventstream import EventStream
    from alilocal.fc.function import Function

QUEUE = "hpo-requests"
TOPIC = "hpo-results"
TABLE = "hpoq"
DEAD_LETTER_QUEUE = "hpo-requests-dead"
WATCH_QUEUE = "hpo-watch"
TIMEOUT_SECONDS = 300
"""The function's time-out. The queue's visibility time-out is longer."""
PACKAGE = Path(hpoq.__file__).parent
"""The folder of the function's code."""

# Here checking an experiment costs nothing, and a person waits for its result.
_PACE = {"HPOQ_WATCH_MIN_SECONDS": "2", "HPOQ_WATCH_MAX_SECONDS": "5"}
_ID, _SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
_CREDENTIALS = (_ID, _SECRET, "ALIBABA_CLOUD_SECURITY_TOKEN")


def make_environment(cloud: alilocal.LocalCloud, endpoint: str, store: str) -> dict[str, str]:
    """Return the function's environment for `cloud`, which is reached at `endpoint`.

    It includes the HPOQ_ variables of this process, so that they tune the function. Places (store, output, queues,
    endpoints, region, account) and credentials are always the local cloud's: a run never reaches a deployment.
    """
    inherited = {name: value for name, value in os.environ.items() if name.startswith("HPOQ_")}
    # One of the two without the other may be invalid.
    pace = {} if inherited.keys() & _PACE.keys() else _PACE
    return {**pace, **inherited, **local_settings(cloud, endpoint, store)}


def local_settings(cloud: alilocal.LocalCloud, endpoint: str, store: str) -> dict[str, str]:
    """Return the places and credentials of `cloud`, which is reached at `endpoint`, as variables."""
    return {
        "HPOQ_STORE": store,
        "HPOQ_OUTPUT": f"smq://{TOPIC}",
        "HPOQ_QUEUE": QUEUE,
        "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE,
        "HPOQ_WATCH_QUEUE": WATCH_QUEUE,
        "HPOQ_REGION": cloud.region,
        "HPOQ_ACCOUNT_ID": cloud.account_id,
        "HPOQ_PAIAUTOML_ENDPOINT": endpoint,
        "HPOQ_SMQ_ENDPOINT": endpoint,
        "HPOQ_EVENTBRIDGE_ENDPOINT": endpoint,
        **_local_credentials(cloud),
    }


def make_environment_at(endpoint: str, store: str) -> dict[str, str]:
    """Return the function's environment for a local cloud that another process runs at `endpoint`.

    Credentials in the environment of this process take precedence over the local cloud's well-known ones.
    """
    cloud = alilocal.LocalCloud()
    given = {name: os.environ[name] for name in _CREDENTIALS if os.environ.get(name)}
    return {**make_environment(cloud, endpoint, store), **(given or _local_credentials(cloud))}


def loopback_credentials() -> Credentials:
    """Return the local cloud's well-known credentials."""
    return Credentials(ACCESS_KEY_ID, ACCESS_KEY_SECRET)


def local_store_url(host: str) -> str:
    """Return the URL of the records in the table of the local cloud at `host`, which includes its port."""
    return f"tablestore://{host}/{TABLE}?instance=local&scheme=http"


def create_pipeline(cloud: alilocal.LocalCloud) -> None:
    """Create the pipeline's queues, topic and table, unless they exist."""
    for name in (QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE):
        if name not in cloud.queues:
            cloud.queues.create(name, visibility_timeout=TIMEOUT_SECONDS + 60)
    if TOPIC not in cloud.topics:
        cloud.topics.create(TOPIC)
    if TABLE not in cloud.tables.list():
        cloud.tables.create(TABLE, [("key", STRING)])


def create_function(
    cloud: alilocal.LocalCloud,
    environ: Mapping[str, str],
    *,
    reloads: bool = False,
    on_output: Callable[[str], None] | None = None,
) -> Function:
    """Create the function in `cloud` as it is deployed, with the variables `environ`."""
    return cloud.functions.create(
        "hpoq",
        handler="hpoq.handler.handler",
        initializer="hpoq.handler.initialize",
        pre_stop="hpoq.handler.pre_stop",
        code=PACKAGE.parent,
        environment=dict(environ),
        timeout=TIMEOUT_SECONDS,
        reload=PACKAGE if reloads else False,
        on_output=on_output,
    )


def make_streams(cloud: alilocal.LocalCloud, function: Function, batch_size: int) -> list[EventStream]:
    """Return the event streams that bring requests and watch messages to `function`. They are not started."""
    from alilocal.eventstream import EventStream  # only the commands that run the pipeline need it

    return [
        EventStream(
            cloud,
            queue=queue,
            invoke=function,
            batch_size=batch_size,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue=DEAD_LETTER_QUEUE,
        )
        for queue in (QUEUE, WATCH_QUEUE)
    ]


def _local_credentials(cloud: alilocal.LocalCloud) -> Mapping[str, str]:
    return {_ID: cloud.access_key_id, _SECRET: cloud.access_key_secret}
