"""Which wheels a code package takes."""

from email.message import Message
from pathlib import Path

import pytest

from hpoqctl.packaging.wheels import Wheel, drop_unused


def wheel(name: str, version: str) -> Wheel:
    return Wheel(Path(f"{name}.whl"), name, version, "0" * 64, Message())


@pytest.mark.parametrize(
    ("requests", "kept"), [("2.31.0", True), ("2.32.0", False), ("2.34.2", False), ("10.0", False)]
)
def test_the_guesser_of_encodings_is_kept_for_a_requests_that_needs_it(requests, kept):
    """requests can be imported without charset-normalizer from version 2.32 on."""
    wheels = [wheel("requests", requests), wheel("charset_normalizer", "3.5.3"), wheel("idna", "3.20")]
    names = [one.name for one in drop_unused(wheels)]
    assert names == ["requests", *(["charset_normalizer"] if kept else []), "idna"]


def test_without_requests_nothing_is_dropped():
    """Without requests among the wheels, another package may need charset-normalizer."""
    wheels = [wheel("charset_normalizer", "3.5.3")]
    assert drop_unused(wheels) == wheels
