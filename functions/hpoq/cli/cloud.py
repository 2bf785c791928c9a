"""The environment that a command gives the function: a local cloud, or one at an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.cloud.credentials import Credentials

QUEUE = "hpo-requests"
TOPIC = "hpo-results"
TABLE = "hpoq"
DEAD_LETTER_QUEUE = "hpo-requests-dead"
TIMEOUT_SECONDS = 300
"""The function's time-out; a message stays invisible for longer."""

_KEYS = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")


def own_settings() -> dict[str, str]:
    """The HPOQ_ variables that are set."""
    return {name: value for name, value in os.environ.items() if name.startswith("HPOQ_")}


def environment(cloud: alilocal.LocalCloud, endpoint: str, store: str) -> dict[str, str]:
    """The function's environment against `cloud`, answering at `endpoint`.

    HPOQ_ variables that are set tune it, but what names a place (store, output, queue, endpoints, region,
    account) and the credentials are the local cloud's.
    """
    return {
        **own_settings(),
        "HPOQ_STORE": store,
        "HPOQ_OUTPUT": f"smq://{TOPIC}",
        "HPOQ_QUEUE": QUEUE,
        "HPOQ_REGION": cloud.region,
        "HPOQ_ACCOUNT_ID": cloud.account_id,
        "HPOQ_PAIAUTOML_ENDPOINT": endpoint,
        "HPOQ_SMQ_ENDPOINT": endpoint,
        **local_credentials(cloud),
    }


def remote_environment(endpoint: str, store: str) -> dict[str, str]:
    """The function's environment against a cloud that runs at `endpoint`: credentials are those that are set,
    or else the local cloud's well-known ones."""
    cloud = alilocal.LocalCloud()
    given = {name: os.environ[name] for name in _KEYS if os.environ.get(name)}
    return {**environment(cloud, endpoint, store), **(given or local_credentials(cloud))}


def loopback_credentials() -> Credentials:
    """The local cloud's well-known credentials, for commands that talk to one over loopback."""
    cloud = alilocal.LocalCloud()
    return Credentials(cloud.access_key_id, cloud.access_key_secret)


def loopback_place() -> tuple[str, str]:
    """The local cloud's account and region."""
    cloud = alilocal.LocalCloud()
    return cloud.account_id, cloud.region


def local_credentials(cloud: alilocal.LocalCloud) -> Mapping[str, str]:
    """The local cloud's credentials, as the standard variables."""
    return {_KEYS[0]: cloud.access_key_id, _KEYS[1]: cloud.access_key_secret}


def lay_out(cloud: alilocal.LocalCloud) -> None:
    """Have the queue, the topic, the dead-letter queue and the table of the pipeline."""
    for name in (QUEUE, DEAD_LETTER_QUEUE):
        if name not in cloud.queues:
            cloud.queues.create(name, visibility_timeout=TIMEOUT_SECONDS + 60)
    if TOPIC not in cloud.topics:
        cloud.topics.create(TOPIC)
    if TABLE not in cloud.tables.list():
        cloud.tables.create(TABLE, [("key", STRING)])
