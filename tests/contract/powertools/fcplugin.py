"""A pytest plugin that has Powertools' own tests run on our parts: their context is ours, and so is their store.

    pytest -p fcplugin TREE/tests/functional/logger ...

Nothing of theirs is changed: a fixture of theirs that is asked for by a name that stands here gets our object.
"""

import os
from collections import Counter

from fcruntime.powertools import idempotency_without_boto3

STEPPED_IN = idempotency_without_boto3()

import pytest  # noqa: E402

from fcruntime import Fc3Context, lambda_context  # noqa: E402
from fcruntime.context import FunctionInfo  # noqa: E402

used = Counter()

EXCLUDED = {
    "test_factory_explicit_tracing": "needs the SDK of X-Ray",
    "test_factory_explicit_tracing_env_var": "needs the SDK of X-Ray",
    "test_parser_with_model_type_model_and_envelope": "the newest parser refuses what this older test gives it",
}


def _context():
    return lambda_context(
        Fc3Context(
            "52fdfc07-2182-154f-163f-5f0f9a621d72",
            FunctionInfo(name="test-func", memory=128, timeout=1),
            "eu-west-1",
            "809313241234",
        )
    )


def _layer():
    from hpoq.idempotency.powertools import StorePersistenceLayer
    from hpoq.testing import MemoryStore

    return StorePersistenceLayer(MemoryStore())


OURS = {
    "lambda_context": _context,
    "persistence_store_standalone_redis": _layer,
    "persistence_store_standalone_redis_no_decode": _layer,
}


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    make = OURS.get(fixturedef.argname)
    if make is None:
        return None
    used[fixturedef.argname] += 1
    made = make()
    fixturedef.cached_result = (made, fixturedef.cache_key(request), None)
    return made


def pytest_collection_modifyitems(config, items):
    kept, left_out = [], []
    for item in items:
        (left_out if item.originalname in EXCLUDED else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = left_out


_LEFT_OUT = pytest.StashKey()


def pytest_terminal_summary(terminalreporter, config):
    counts = {
        word: len(terminalreporter.stats.get(word, [])) for word in ("passed", "failed", "skipped", "error")
    }
    left_out = config.stash.get(_LEFT_OUT, [])
    terminalreporter.write_line(f"Powertools' own tests on our parts: {counts}, {len(left_out)} left out")
    for name, reason in sorted({item.originalname: EXCLUDED[item.originalname] for item in left_out}.items()):
        terminalreporter.write_line(f"  left out: {name}: {reason}")
    terminalreporter.write_line(f"  fixtures that were ours: {dict(used)}")
    terminalreporter.write_line(f"  boto3: {'absent' if STEPPED_IN else 'present'}, pid {os.getpid()}")
