"""Functions as they are described: settings, code, versions, aliases, triggers and configurations.

Nothing here runs. What a call runs is the result of `Registry.find`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.world import World
from alilocal.fc import members as settings
from alilocal.fc.errors import AlreadyExists, InvalidArgument, NotFound, Unchanged
from alilocal.fc.functionhost import LATEST, AsyncSettings, Deployed
from alilocal.fc.packages import Packages
from alilocal.fc.switches import FunctionComputeSwitches


@dataclass(frozen=True)
class Revision:
    """What a version runs. `package` is the key of the code in `Packages`."""

    members: JsonObject
    package: str
    number: int

    def __post_init__(self) -> None:
        # Those of a request were checked before; a snapshot may have been edited.
        settings.check(self.members)


@dataclass
class Version:
    """A version that was published."""

    version_id: str
    revision: Revision
    description: str
    created: float


@dataclass
class Alias:
    """An alias calls `version_id`, and each version in `weights` with that share of the calls."""

    name: str
    version_id: str
    weights: dict[str, float]
    description: str
    created: float
    modified: float


@dataclass
class Trigger:
    """A trigger; `config` is JSON text, kept as it was given."""

    name: str
    trigger_id: str
    kind: str
    qualifier: str
    config: str
    source_arn: str
    role: str
    description: str
    created: float
    modified: float


@dataclass
class AsyncConfig:
    """The configuration of asynchronous calls for one qualifier."""

    members: JsonObject
    created: float
    modified: float


@dataclass
class Entry:
    """A function with all that belongs to it."""

    name: str
    function_id: str
    latest: Revision
    created: float
    modified: float
    versions: dict[str, Version] = field(default_factory=dict)
    newest_version: int = 0
    aliases: dict[str, Alias] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    async_configs: dict[str, AsyncConfig] = field(default_factory=dict)
    reserved: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    disabled: bool = False
    tasks: list[str] = field(default_factory=list)

    def revision(self, version_id: str) -> Revision:
        """Return what a version runs; without an id the latest one. Raises NotFound."""
        return self.version(version_id).revision if version_id else self.latest

    def version(self, version_id: str) -> Version:
        """Return a version; raises NotFound."""
        if version_id not in self.versions:
            raise NotFound("Version", version_id)
        return self.versions[version_id]

    def qualified(self, qualifier: str) -> Version | None:
        """Return the version that a qualifier names, or None for the latest one; raises NotFound.

        Of an alias it is the main version, whatever share of the calls its other version gets.
        """
        version_id = "" if qualifier == LATEST else qualifier
        if version_id and not qualifier.isdigit():
            version_id = self.alias(qualifier).version_id
        return self.version(version_id) if version_id else None

    def alias(self, name: str) -> Alias:
        """Return an alias; raises NotFound."""
        if name not in self.aliases:
            raise NotFound("Alias", name)
        return self.aliases[name]

    def trigger(self, name: str) -> Trigger:
        """Return a trigger; raises NotFound."""
        if name not in self.triggers:
            raise NotFound("Trigger", name)
        return self.triggers[name]


@dataclass
class ServiceEntry:
    """A service of Function Compute 2.0. Its functions are entries named `<service>$<function>`."""

    name: str
    service_id: str
    members: JsonObject
    created: float
    modified: float
    versions: dict[str, JsonObject] = field(default_factory=dict)
    newest_version: int = 0
    aliases: dict[str, Alias] = field(default_factory=dict)
    published: dict[str, JsonObject] = field(default_factory=dict)
    """For each version the `members` of the service, and the number of each function's revision in `functions`."""


NAME = re.compile(r"[A-Za-z_][\w-]{0,127}", re.ASCII)


def read_weights(given: JsonObject) -> dict[str, float]:
    """Return the weight of the second version of an alias, by that version's id; raises InvalidArgument."""
    weights = given.get("additionalVersionWeight") or {}
    if not isinstance(weights, dict) or len(weights) > 1:
        raise InvalidArgument("additionalVersionWeight: must be an object with at most one version.")
    for version_id, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise InvalidArgument(f"additionalVersionWeight.{version_id}: must be between 0 and 1.")
    return {version_id: float(str(weight)) for version_id, weight in weights.items()}


def check_alias(name: str) -> None:
    """Raise InvalidArgument for a name that an alias cannot have."""
    if not NAME.fullmatch(name) or name == LATEST:
        raise InvalidArgument(f"aliasName: {name!r} is not a valid name.")


class Registry:
    """The functions of a cloud, and their packages."""

    def __init__(self, world: World[FunctionComputeSwitches]) -> None:
        self._world = world
        self.entries: dict[str, Entry] = {}
        self.services: dict[str, ServiceEntry] = {}
        self.packages = Packages()

    def get(self, name: str) -> Entry:
        """Return a function; raises NotFound."""
        if name not in self.entries:
            raise NotFound("Function", name)
        return self.entries[name]

    def create(self, given: JsonObject) -> Entry:
        """Create a function; raises InvalidArgument and AlreadyExists."""
        name = settings.check_name(given.get("functionName"))
        if name in self.entries:
            raise AlreadyExists("Function", name)
        found = settings.new_members(given)
        self._check_role(found)
        code = given.get("code")
        if not isinstance(code, dict):
            raise InvalidArgument("code: is required.")
        now = self._world.clock.now()
        revision = Revision(found, self.packages.add(code), 1)
        self.entries[name] = Entry(name, self._world.ids.uuid(), revision, now, now)
        return self.entries[name]

    def update(self, name: str, given: JsonObject) -> Entry:
        """Change the latest version of a function; raises NotFound and InvalidArgument."""
        entry = self.get(name)
        found, code = settings.changed_members(entry.latest.members, given), given.get("code")
        self._check_role(found)
        package = self.packages.add(code) if isinstance(code, dict) and code else entry.latest.package
        entry.latest = Revision(found, package, entry.latest.number + 1)
        entry.modified = self._world.clock.now()
        self._drop_unused_packages()
        return entry

    def delete(self, name: str) -> None:
        """Delete a function with everything that belongs to it; raises NotFound."""
        self.get(name)
        del self.entries[name]
        self._drop_unused_packages()

    def publish(self, name: str, description: str) -> Version:
        """Publish the latest version under the next number; raises NotFound, and Unchanged if nothing changed."""
        entry = self.get(name)
        newest = entry.versions.get(str(entry.newest_version))
        if newest and newest.revision.number == entry.latest.number:
            raise Unchanged("Function", name)
        entry.newest_version += 1
        number = str(entry.newest_version)
        version = Version(number, entry.latest, description, self._world.clock.now())
        entry.versions[number] = version
        return version

    def delete_version(self, name: str, version_id: str) -> None:
        """Delete a version; raises NotFound, and InvalidArgument if an alias calls it."""
        entry = self.get(name)
        entry.version(version_id)
        users = [one.name for one in entry.aliases.values() if version_id in (one.version_id, *one.weights)]
        if users:
            raise InvalidArgument(f"version '{version_id}' is used by the alias '{users[0]}'")
        del entry.versions[version_id]
        self._drop_unused_packages()

    def create_alias(self, name: str, given: JsonObject) -> Alias:
        """Create an alias; raises NotFound, AlreadyExists and InvalidArgument."""
        entry, alias = self.get(name), str(given.get("aliasName") or "")
        check_alias(alias)
        if alias in entry.aliases:
            raise AlreadyExists("Alias", alias)
        now = self._world.clock.now()
        version_id = self._version_id(entry, given)
        weights = self._weights(entry, given)
        made = Alias(alias, version_id, weights, str(given.get("description") or ""), now, now)
        entry.aliases[alias] = made
        return made

    def update_alias(self, name: str, alias_name: str, given: JsonObject) -> Alias:
        """Change an alias; what is left out stays. Raises NotFound and InvalidArgument."""
        entry = self.get(name)
        alias = entry.alias(alias_name)
        if given.get("versionId"):
            alias.version_id = self._version_id(entry, given)
        weights = given.get("additionalVersionWeight")
        if weights or (weights == {} and self._world.behaviour.empty_alias_weights == "cleared"):
            alias.weights = self._weights(entry, given)
        if isinstance(given.get("description"), str):
            alias.description = str(given["description"])
        alias.modified = self._world.clock.now()
        return alias

    def find(self, name: str, qualifier: str | None) -> Deployed:
        """Return what a call with `qualifier` runs; an alias chooses by its weights. Raises NotFound."""
        entry, asked = self.get(name), qualifier or LATEST
        version_id = self._choose(entry, asked)
        revision = entry.revision(version_id)
        return Deployed(
            name=name,
            qualifier=asked,
            version_id=version_id,
            revision=f"{entry.function_id}/{revision.number}",
            members=revision.members,
            package=self.packages.by_key[revision.package],
            checksum=self.packages.checksum(revision.package),
            asynchronous=self._async_settings(entry, asked),
            most_instances=entry.reserved,
        )

    def restore(self, entries: Sequence[Entry], services: Sequence[ServiceEntry]) -> None:
        """Replace all functions and services."""
        self.entries = {one.name: one for one in entries}
        self.services = {one.name: one for one in services}

    def _choose(self, entry: Entry, qualifier: str) -> str:
        """Return the id of the version that a call with a qualifier runs, empty for the latest one."""
        main = entry.qualified(qualifier)
        alias = entry.aliases.get(qualifier)
        if alias and alias.weights:
            chance = self._world.ids.chance()
            for version_id, weight in alias.weights.items():
                if chance < weight:
                    return version_id
                chance -= weight
        return main.version_id if main else ""

    def _version_id(self, entry: Entry, given: JsonObject) -> str:
        version_id = str(given.get("versionId") or "")
        return "" if version_id == LATEST else entry.version(version_id).version_id

    def _weights(self, entry: Entry, given: JsonObject) -> dict[str, float]:
        weights = read_weights(given)
        for version_id in weights:
            entry.version(version_id)
        return weights

    def _async_settings(self, entry: Entry, qualifier: str) -> AsyncSettings:
        config = entry.async_configs.get(qualifier)
        if config is None:
            return AsyncSettings()
        destinations = config.members.get("destinationConfig")
        places = destinations if isinstance(destinations, dict) else {}
        retries = config.members.get("maxAsyncRetryAttempts")
        age = config.members.get("maxAsyncEventAgeInSeconds")
        return AsyncSettings(
            most_retries=retries if isinstance(retries, int) else 3,
            most_age_seconds=age if isinstance(age, int) else 86_400,
            on_success=_destination(places.get("onSuccess")),
            on_failure=_destination(places.get("onFailure")),
        )

    def _check_role(self, found: JsonObject) -> None:
        role = settings.role_name(found)
        if role is not None and not self._world.credentials.role_policies(role)[0]:
            raise InvalidArgument(f"role: the role '{found['role']}' does not exist.")

    def _drop_unused_packages(self) -> None:
        used = {entry.latest.package for entry in self.entries.values()}
        used |= {one.revision.package for entry in self.entries.values() for one in entry.versions.values()}
        self.packages.keep(used)


def _destination(value: JsonValue) -> str | None:
    found = value.get("destination") if isinstance(value, dict) else None
    return str(found) if found else None
