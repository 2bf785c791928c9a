"""An operator's second day: the deployment guide, followed in the local cloud from an empty account to a removal."""

import re
import sys
from pathlib import Path

import pytest

from support.processes import run_program

SCRIPT = Path(__file__).with_name("daytwo.py")


@pytest.mark.in_ci
def test_the_guide_can_be_followed_to_its_end():
    """Deployment, canary, alarm, rollback, redrive, rotation, audit and removal succeed, and each step is printed."""
    done = run_program([sys.executable, SCRIPT], timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"(?m)^([0-9])\. ", done.stdout) == [str(number) for number in range(1, 10)]
    assert done.stdout.splitlines()[-1] == "Done."
