"""The members of a configuration whose values the service shows to nobody.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpoexperiments (List
replaces them by asterisks).
"""

from __future__ import annotations

from collections.abc import Iterator

from alilocal.core.jsonvalue import JsonObject, JsonValue

MASK = "*" * 8
_SECRETS = frozenset({"accesskeysecret", "access_key", "access_key_secret"})
_SECRET_URLS = frozenset({"monitor_config"})


def masked(configuration: JsonObject) -> JsonObject:
    """A copy of `configuration` with asterisks for secrets."""
    return {section: _masked_section(section, value) for section, value in configuration.items()}


def secrets_of(configuration: JsonObject) -> Iterator[str]:
    """The texts that `masked` hides."""
    for section, members in configuration.items():
        for name, value in members.items() if isinstance(members, dict) else ():
            if _is_secret(section, name) and isinstance(value, str) and value:
                yield value


def _masked_section(section: str, value: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        return value
    return {name: MASK if _is_secret(section, name) else member for name, member in value.items()}


def _is_secret(section: str, name: str) -> bool:
    return name.lower() in _SECRETS or (section in _SECRET_URLS and name == "url")
