"""Pushes notifications to HTTP endpoints of subscriptions, signed as the service signs them.

The signature is RSA over SHA-1; a receiver reads the public key from the certificate that a header names. Source:
https://www.alibabacloud.com/help/en/mns/developer-reference/topic-message-http-subscription-signature. Only
loopback addresses get a push: a test must not call anybody else.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

from alilocal.core.retry import RetryStrategy, delay_after
from alilocal.core.world import World
from alilocal.smq.signature import VERSION
from alilocal.smq.switches import SmqSwitches

CERTIFICATE_PATH = "/x509_public_certificate.pem"
_OFFICIAL = "https://mnstest.oss-cn-hangzhou.aliyuncs.com"
_TIMEOUT_SECONDS = 5
_CONTENT_TYPES = {
    "XML": "text/xml;charset=utf-8",
    "JSON": "application/json;charset=utf-8",
    "SIMPLIFIED": "text/plain;charset=utf-8",
    "STREAM": "text/plain;charset=utf-8",
}
# The key signs for local clouds only, so that it need not be secret.
_MODULUS = int(
    "ceef99d096e1e02da5c0366cdba80dbbfe9e4ba75afdf1f71ebf7e8b042c33a7d4971a18f27ea7de1033a868ff1e132d2986"
    "9dfb05905addb373329048ec3837e10f5473ffe1f407d21b5ab12b3b2ccf068ea01bd979095c02804d2bc4d7720a8636cfe1"
    "91f7606fdbb947de6c537344fe116715e294ae1aa72fd47c2c3c4b4551d314b77bb839b7c6012b745331f3e8fd153cee2a03"
    "5be7d4146a98fd3aff86fd0c860c3fe3ce0496428a53026effc3edf66f0e1425f12491c3d2ee128282821ff71a83a08ad00c"
    "0758856c757980c63b294d3079882e0382d98cc718c75cc75972f4c1af109d4bbbc48b734a1056f75b24827ce40beea516c0"
    "bc683ba93f5d",
    16,
)
_EXPONENT = int(
    "1cfbac046e0d86d37de294fcdc2b06796d2908999101fe50c94ab2d38fab0d35156e70664c1877347ffa6c3d00765ae3396c"
    "b455c32abbbf4f71f4040762a66115318b778fc03ae89981e14aed2e25917d6e9e7828166ebc275186fd795d5f889fd1af7d"
    "fd6eb360175b34f8af1d6508a5b9144219710f8d861b09dcb6695f753e7290b757bc5108c70a3754ab4625878763c967335c"
    "df0e7f3372c250acc76aa9ae520286c35673f1127688dff6787d7d8ed6d03502114ca608381664b9ae72c72eb45a78bbca66"
    "1c2be51708b61bed3291344c9f760639dfecf95d446cafc9dc9f60b94e1e973f035984d282c88872e8051de1b8fbf28bdbf7"
    "a10c5d7b2e15",
    16,
)
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIDCTCCAfGgAwIBAgIUJ5c7N27W7sE4a63myKkbokdKfhswDQYJKoZIhvcNAQEL
BQAwEzERMA8GA1UEAwwIYWxpbG9jYWwwIBcNMjYxMTI5MDI0NjIwWhgPMjEyNjEx
MDUwMjQ2MjBaMBMxETAPBgNVBAMMCGFsaWxvY2FsMIIBIjANBgkqhkiG9w0BAQEF
AAOCAQ8AMIIBCgKCAQEAzu+Z0Jbh4C2lwDZs26gNu/6eS6da/fH3Hr9+iwQsM6fU
lxoY8n6n3hAzqGj/HhMtKYad+wWQWt2zczKQSOw4N+EPVHP/4fQH0htasSs7LM8G
jqAb2XkJXAKATSvE13IKhjbP4ZH3YG/buUfebFNzRP4RZxXilK4apy/UfCw8S0VR
0xS3e7g5t8YBK3RTMfPo/RU87ioDW+fUFGqY/Tr/hv0Mhgw/484ElkKKUwJu/8Pt
9m8OFCXxJJHD0u4SgoKCH/cag6CK0AwHWIVsdXmAxjspTTB5iC4DgtmMxxjHXMdZ
cvTBrxCdS7vEi3NKEFb3WySCfOQL7qUWwLxoO6k/XQIDAQABo1MwUTAdBgNVHQ4E
FgQUtAqPK68AQRT3iD3zjsg9Uuwx9SMwHwYDVR0jBBgwFoAUtAqPK68AQRT3iD3z
jsg9Uuwx9SMwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAzETx
ixNQ/gI1KPAUtoK+vpgCHr04uEMTeF0FigAY6HrHscJXVW8OIbb7/oQTwovYUt4U
KMqHbadOCtpvBQv2qVuXJcu8ywJxwahWjTI5z1XefK7kfjVQCmmsa6BjCtNDpADn
E2Yw1utsn0oOh+w0zmuUDI4VqRTuaxImBcD8lvLLCrI1xd2+HdT2pp523GWi4IST
+0O5zm/vpAE/CzJQQ6L7iogNKzB+14cK3C+peaZtvQhFZ7HmKA2GLWDRronXxwx8
x5VLKzGBS7nLoTE/wkCF2NP9MnQH+vlKKyECgbNbLE+YH2AE2j28+UZ9e6LU4oZS
EKMEG/iSwZ+uw9WqIA==
-----END CERTIFICATE-----
"""
_SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")


def rsa_sha1(text: bytes) -> str:
    """Return the RSA signature (PKCS #1, version 1.5) of a text as base64."""
    size = (_MODULUS.bit_length() + 7) // 8
    digest = _SHA1 + hashlib.sha1(text, usedforsecurity=False).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    return base64.b64encode(
        pow(int.from_bytes(padded, "big"), _EXPONENT, _MODULUS).to_bytes(size, "big")
    ).decode()


def is_loopback(url: str) -> bool:
    """Return whether the host of `url` is this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Push:
    """A notification on its way to `url`; `form` is its content format, and `host` the one that served the sender."""

    url: str
    body: bytes = field(repr=False)
    form: str
    message_id: str
    tag: str | None
    host: str

    def signed(self, request_id: str, moment: float) -> tuple[str, dict[str, str]]:
        """Return the whole URL, and the headers with the signature."""
        parts = urlsplit(self.url)
        resource = (parts.path or "/notifications") + (f"?{parts.query}" if parts.query else "")
        place = _OFFICIAL if self.host.endswith("aliyuncs.com") else f"http://{self.host}"
        own = {
            "x-mns-request-id": request_id,
            "x-mns-signing-cert-url": base64.b64encode(f"{place}{CERTIFICATE_PATH}".encode()).decode(),
            "x-mns-version": VERSION,
        }
        if self.form == "SIMPLIFIED":
            own["x-mns-message-id"] = self.message_id
            if self.tag:
                own["x-mns-message-tag"] = self.tag
        digest = hashlib.md5(self.body, usedforsecurity=False).hexdigest()
        lines = [base64.b64encode(digest.encode()).decode(), _CONTENT_TYPES[self.form]]
        lines.append(formatdate(moment, usegmt=True))
        text = "\n".join(["POST", *lines, *(f"{name}:{own[name]}" for name in sorted(own)), resource])
        standard = dict(zip(("Content-MD5", "Content-Type", "Date"), lines, strict=True))
        headers = {**standard, **own, "Authorization": rsa_sha1(text.encode())}
        return f"{parts.scheme}://{parts.netloc}{resource}", headers


class Pushes:
    """Sends notifications, each in a thread of its own, again and again as its subscription says."""

    def __init__(self, world: World[SmqSwitches]) -> None:
        self._world = world

    def start(self, push: Push, strategy: RetryStrategy, on_failure: Callable[[], None]) -> None:
        """Begin to send a notification; `on_failure` is called with the cloud's lock if nobody has taken it."""
        run = threading.Thread(
            target=self._send, args=(push, strategy, on_failure), name="alilocal-push", daemon=True
        )
        run.start()

    def _send(self, push: Push, strategy: RetryStrategy, on_failure: Callable[[], None]) -> None:
        attempts = 0
        while not _post(*self._sign(push)):
            attempts += 1
            delay = delay_after(strategy, attempts, self._world.ids)
            if delay is None:
                with self._world.changed:
                    on_failure()
                return
            if not self._wait(delay):
                return

    def _sign(self, push: Push) -> tuple[str, dict[str, str], bytes]:
        with self._world.changed:
            request_id, moment = self._world.ids.smq_request_id(), self._world.clock.sent_at()
        return (*push.signed(request_id, moment), push.body)

    def _wait(self, seconds: float) -> bool:
        """Wait by the cloud's clock, and return False if the cloud is closed meanwhile."""
        clock, changed = self._world.clock, self._world.changed
        with changed:
            until = clock.now() + seconds
            while clock.now() < until and not changed.closed:
                clock.pause(until - clock.now())
            return not changed.closed


def _post(url: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Send a notification once, and return whether the receiver has accepted it."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(
                url, data=body, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException:
            return False
        return answer.ok and not answer.is_redirect
