"""The list of names of members whose values the local cloud never shows."""

from __future__ import annotations

import re
from functools import lru_cache

# Names are compared without case, separators and trailing digits.
_CONTAINED = (
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
    "accesskey",
    "accessid",
    "apikey",
    "privatekey",
    "webhook",
    "passcode",
    "cookie",
    "authkey",
    "accountkey",
    "encryptionkey",
    "masterkey",
    "sharedkey",
    "signingkey",
    "aeskey",
    "token",
)
_ENDINGS = ("pwd", "pass", "signature", "url")  # the URL of an alert carries a token
_WHOLE = frozenset({"ak", "sk", "sig", "auth", "jwt", "otp"})


@lru_cache(maxsize=512)
def is_secret_name(name: str) -> bool:
    """Return whether the value of a member with this name is hidden."""
    plain = re.sub(r"[^a-z0-9]+", "", name.lower()).rstrip("0123456789")
    return plain in _WHOLE or any(part in plain for part in _CONTAINED) or plain.endswith(_ENDINGS)
