"""A deployment over a local cloud: its queues and topic, the function's environment, and the function."""

import json

from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.function import Function
from hpoq.testing import FakeClock, MemoryStore
from hpoqctl.pipeline import DEAD_LETTER_QUEUE, QUEUE, TOPIC, WATCH_QUEUE

CONTEXT = Fc3Context("r-1", FunctionInfo(timeout=300))


def create_resources(cloud):
    """Create the queues and the topic, with the service's default attributes."""
    for name in (QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE):
        cloud.queues.create(name)
    cloud.topics.create(TOPIC)


def tablestore_url(server, table="hpoq"):
    """Return the URL of `table` at a running server, as HPOQ_STORE names it."""
    return f"tablestore://127.0.0.1:{server.port}/{table}?instance=local&scheme=http"


def function_environment(cloud_or_server, **settings):
    """Return the function's environment over a `LocalCloud`, or over a server of one; `settings` override it."""
    cloud = getattr(cloud_or_server, "cloud", cloud_or_server)
    endpoint = cloud.endpoint if cloud is cloud_or_server else cloud_or_server.url
    return {
        "HPOQ_REGION": cloud.region,
        "HPOQ_ACCOUNT_ID": cloud.account_id,
        "HPOQ_PAIAUTOML_ENDPOINT": endpoint,
        "HPOQ_SMQ_ENDPOINT": endpoint,
        "HPOQ_EVENTBRIDGE_ENDPOINT": endpoint,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        **settings,
    }


def vendor_config(server, key=None, **members):
    """Return the members of the Config of a vendor's client of `server`; `key` is an access key id and its secret."""
    access_key_id, secret = key or (server.cloud.access_key_id, server.cloud.access_key_secret)
    endpoint = f"127.0.0.1:{server.port}"
    own = {
        "access_key_id": access_key_id,
        "access_key_secret": secret,
        "endpoint": endpoint,
        "protocol": "http",
    }
    return {**own, **members}


def make_function(cloud, store=None, clock=None, *, session=None, **settings):
    """Return a new instance of the function, as after a cold start.

    Without `store` its records are in memory, unless `settings` name a store.
    """
    return Function(
        function_environment(cloud, **settings),
        session=session or cloud.session(),
        clock=clock or FakeClock(cloud.clock.now()),
        store=None if "HPOQ_STORE" in settings else store or MemoryStore(),
    )


def published_events(cloud):
    """Return the events that reached the topic, oldest first."""
    return [json.loads(message.body) for message in cloud.topics.get(TOPIC).published]
