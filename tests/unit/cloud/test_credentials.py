"""Where credentials come from, and that they never show."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace

import pytest

from hpoq.cloud.signing import Credentials, chain, from_context, from_environment
from hpoq.errors import NoCredentials

FULL = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in FULL.items() if key != f"ALIBABA_CLOUD_{name}"}


def test_environment():
    """The three variables make temporary credentials."""
    assert from_environment(FULL)() == Credentials("id", "secret", "token")


@pytest.mark.parametrize("environ", [without("SECURITY_TOKEN"), {**FULL, "ALIBABA_CLOUD_SECURITY_TOKEN": ""}])
def test_environment_without_a_token(environ):
    """An absent or empty token makes lasting credentials."""
    assert from_environment(environ)() == Credentials("id", "secret")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        without("ACCESS_KEY_ID"),
        without("ACCESS_KEY_SECRET"),
        {**FULL, "ALIBABA_CLOUD_ACCESS_KEY_ID": " "},
    ],
)
def test_environment_incomplete(environ):
    """An incomplete or empty key counts as missing."""
    with pytest.raises(NoCredentials):
        from_environment(environ)()


def test_environment_is_read_when_asked(monkeypatch):
    """The process's environment is read at each call, so that rotated keys are picked up."""
    provider = from_environment()
    for key, value in FULL.items():
        monkeypatch.setenv(key, value)
    assert provider().access_key_id == "id"
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "new")
    assert provider().access_key_id == "new"


@pytest.mark.parametrize("changed", range(3), ids=["id", "secret", "token"])
@pytest.mark.parametrize("source", ["environment", "context"])
def test_a_part_that_was_rotated_alone_is_picked_up(source, changed):
    """Credentials are the same only if the id, the secret and the token are."""
    held: dict[str, str] = {}
    if source == "environment":
        names, provider = list(FULL), from_environment(held)
    else:
        names = ["access_key_id", "access_key_secret", "security_token"]
        provider = from_context(SimpleNamespace(credentials=held))
    parts = ["id", "secret", "token"]
    held.update(zip(names, parts, strict=True))
    assert provider() == Credentials(*parts)
    held[names[changed]] = parts[changed] = "rotated"
    assert provider() == Credentials(*parts)


def test_line_feed_around_a_value():
    """White space around a value, such as a secret file's last line feed, is dropped."""
    assert from_environment({key: f" {value}\n" for key, value in FULL.items()})().secrets() == (
        "secret",
        "token",
    )


@pytest.mark.parametrize(
    "held",
    [
        SimpleNamespace(access_key_id="id", access_key_secret="secret", security_token="token"),
        SimpleNamespace(accessKeyId="id", accessKeySecret="secret", securityToken="token"),
        {"access_key_id": "id", "access_key_secret": "secret", "security_token": "token"},
        {"accessKeyId": "id", "accessKeySecret": "secret", "securityToken": "token"},
    ],
)
def test_context(held):
    """A context's credentials are read in either spelling, from an object or a mapping."""
    assert from_context(SimpleNamespace(credentials=held))() == Credentials("id", "secret", "token")


@pytest.mark.parametrize(
    "context",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(credentials=None),
        SimpleNamespace(
            credentials=SimpleNamespace(access_key_id="", access_key_secret="", security_token="")
        ),
        SimpleNamespace(credentials={"access_key_id": "id"}),
        SimpleNamespace(credentials=SimpleNamespace(access_key_id=1, access_key_secret=2)),
    ],
)
def test_context_without(context):
    """A context without credentials, or with empty ones, has none."""
    with pytest.raises(NoCredentials):
        from_context(context)()


def test_chain():
    """The first source that has credentials wins."""
    later = {key: f"later-{value}" for key, value in FULL.items()}
    assert chain(from_context(None), from_environment(FULL), from_environment(later))().access_key_id == "id"


def test_chain_after_invalid_credentials():
    """Credentials that cannot be used are passed over, and the error quotes the reason."""
    invalid = SimpleNamespace(credentials={"access_key_id": "i d", "access_key_secret": "secret"})
    assert chain(from_context(invalid), from_environment(FULL))().access_key_id == "id"
    with pytest.raises(NoCredentials, match=r"spaces.*variables"):
        chain(from_context(invalid), from_environment({}))()


def test_chain_without():
    """If no provider has credentials, the error gives the reason of each."""
    with pytest.raises(NoCredentials, match=r"context.*variables"):
        chain(from_context(None), from_environment({}))()
    with pytest.raises(NoCredentials, match="no source of credentials"):
        chain()()


@pytest.mark.parametrize("bad", ["a\r\nHost: evil", "a b", "ключ", "a\x00"])
@pytest.mark.parametrize("part", ["access_key_id", "access_key_secret", "security_token"])
def test_unusable(part, bad):
    """A part that could not stand in a header is refused, without being quoted."""
    good = {"access_key_id": "i", "access_key_secret": "s", "security_token": "t"}
    with pytest.raises(NoCredentials) as caught:
        Credentials(**{**good, part: bad})
    assert bad not in str(caught.value)


def test_masked():
    """No text form shows a secret, nor more than the start of the id."""
    held = Credentials("LTAI-EXAMPLE-ID", "CANARY-SECRET", "CANARY-TOKEN")
    shown = f"{held} {held!r} {[held]} {dataclasses.replace(held)} {copy.copy(held)}"
    assert "CANARY" not in shown
    assert "EXAMPLE" not in shown
    assert "Credentials(LTAI***)" in shown
    assert [repr(Credentials(name, "s")) for name in ("LTAI5678", "LTAI56789")] == [
        "Credentials(***)",
        "Credentials(LTAI***)",
    ]
