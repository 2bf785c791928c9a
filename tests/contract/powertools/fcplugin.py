"""A pytest plugin that runs Powertools' own tests with our context and our layers instead of theirs.

    pytest -p fcplugin TREE/tests/functional/logger ...

No file of theirs is changed: a fixture or a double of theirs that is asked for by a name of this module is ours.
"""

from collections import Counter
from importlib.metadata import version
from pathlib import Path

from fcruntime.powertools import idempotency_without_boto3

STEPPED_IN = idempotency_without_boto3()

import aws_lambda_powertools  # noqa: E402
import pytest  # noqa: E402

from fcruntime import Fc3Context, lambda_context  # noqa: E402
from fcruntime.context import FunctionInfo  # noqa: E402

used = Counter()

EXCLUDED = {
    "test_factory_explicit_tracing": "needs the SDK of X-Ray",
    "test_factory_explicit_tracing_env_var": "needs the SDK of X-Ray",
    "test_parser_with_model_type_model_and_envelope": "the newest parser refuses what this older test gives it",
    "test_validate_invalid_custom_format": "the newest fastjsonschema takes what an older one refused",
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


def _expecting():
    """One of our layers that asserts on keys, in place of their double that does."""
    from hpoq.idempotency.powertools import StorePersistenceLayer
    from hpoq.testing import MemoryStore

    class Expecting(StorePersistenceLayer):
        def __init__(self, expected_idempotency_key):
            super().__init__(MemoryStore())
            self._expected = expected_idempotency_key
            used[_DOUBLE] += 1

        def _put_record(self, data_record):
            assert data_record.idempotency_key == self._expected
            super()._put_record(data_record)

        def _update_record(self, data_record):
            assert data_record.idempotency_key == self._expected
            super()._update_record(data_record)

    return Expecting


_DOUBLE = "MockPersistenceLayer"

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
    for module in {item.module for item in kept if hasattr(item.module, _DOUBLE)}:
        setattr(module, _DOUBLE, _expecting())
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
    terminalreporter.write_line(f"  objects that were ours: {dict(used)}")
    terminalreporter.write_line(
        f"  Powertools {version('aws-lambda-powertools')} in {Path(aws_lambda_powertools.__file__).parents[1]}"
    )
    terminalreporter.write_line(f"  boto3: {'absent' if STEPPED_IN else 'present'}")
