"""Which endpoints are taken."""

from __future__ import annotations

import pytest

from hpoq.cloud.endpoint import Endpoint, check_account, check_region
from hpoq.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("paiautoml.cn-shanghai.aliyuncs.com", "https://paiautoml.cn-shanghai.aliyuncs.com", None),
        ("https://Example.com/", "https://example.com", None),
        ("https://example.com:443", "https://example.com", "example.com"),
        ("https://example.com:8443", "https://example.com:8443", "example.com:8443"),
        ("example.com:8443", "https://example.com:8443", None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", None),
        ("http://127.9.9.9", "http://127.9.9.9", None),
        ("http://[::1]:80", "http://[::1]", "[::1]"),
        ("http://[::1]:443", "http://[::1]:443", None),
        ("https://[2001:db8::1]:80", "https://[2001:db8::1]:80", None),
        (" example.com ", "https://example.com", None),
        ("http://localhost:80", "http://localhost", None),
        ("HTTP://LOCALHOST:81", "http://localhost:81", None),
        ("LOCALHOST:81", "http://localhost:81", None),
        ("127.0.0.1:81", "http://127.0.0.1:81", None),
        ("https://127.0.0.1", "https://127.0.0.1", None),
    ],
)
def test_taken(text, url, host):
    """A host, with or without scheme and port; the `Host` names a port only if it is not the scheme's own."""
    endpoint = Endpoint.parse(text)
    assert str(endpoint) == url
    assert endpoint.host == (host or url.partition("//")[2])
    assert endpoint.url("/a?b=c") == f"{url}/a?b=c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://example.com",
        "http://example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://127.1",
        "http://2130706433",
        "http://[::ffff:8.8.8.8]",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://127.0.0.1\\@example.com",
        "http://127.0.0.1#@example.com",
        "http://127.0.0.1\\.example.com",
        "https://user:CANARY@example.com",
        "https://example.com/path",
        "https://example.com?x=1",
        "https://example.com?",
        "https://example.com#x",
        "https://[",
        "https://exa mple.com",
        "https://example.com:99999",
        "https://example.com\r\nX: y",
        "https://-example-.com-",
        "https://例.com",
    ],
)
def test_refused(text):
    """Anything but a host over https, or over http on loopback, is quoted, unless it may have a password."""
    with pytest.raises(SettingsError) as caught:
        Endpoint.parse(text)
    (problem,) = caught.value.problems
    assert problem.startswith("endpoint: must not contain" if "@" in text else f"endpoint {text!r}: ")


@pytest.mark.parametrize("region", ["", "cn-shanghai.evil.com/", "a@b", "CN", "-", "cn--x"])
def test_region(region):
    """A region that is no plain name cannot reach into a host name."""
    with pytest.raises(SettingsError, match=f"region '{region}'"):
        check_region(region)
    assert check_region("cn-hangzhou-1") == "cn-hangzhou-1"


@pytest.mark.parametrize("account", ["", "a", "1.2", "-1", "1/"])
def test_account(account):
    """An account is a row of digits, so that it cannot reach into a host name."""
    with pytest.raises(SettingsError, match=f"account id '{account}'"):
        check_account(account)
    assert check_account("1234567890123456") == "1234567890123456"
