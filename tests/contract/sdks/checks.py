"""Runs named checks with a client, one after the other, and prints the result of each."""

import importlib.metadata
import json
import sys
import traceback

settings = json.loads(sys.argv[1])


def outcomes(package, checks):
    """Return the report on a client: its version, and for each check None or the error."""
    found = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = None
        except Exception:  # noqa: BLE001
            found[name] = traceback.format_exc()
    return {"client": package, "version": importlib.metadata.version(package), "checks": found}


def fails(call, text):
    """Check that a call fails with an error that names `text`."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001
        shown = f"{type(exc).__name__} {exc} {vars(exc)}"
        assert text in shown, shown
    else:
        raise AssertionError("the call succeeds")


def equal(found, expected):
    assert found == expected, (found, expected)


def report(*reports):
    sys.stdout.write(json.dumps(reports) + "\n")
