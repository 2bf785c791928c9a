"""The software bill of materials of a package, in CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from importlib.metadata import metadata

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoqctl.packaging.platform import Platform
from hpoqctl.packaging.wheels import Wheel, normalize_name, own_requirements

_LONGEST_LICENCE = 80


def compose_sbom(
    wheels: Sequence[Wheel], platform: Platform, extras: Iterable[str], sha256: str, compiler: str | None
) -> JsonObject:
    """Return the bill of materials of the package whose digest is `sha256`.

    `compiler` is the version of Python that compiled its bytecode, or None if it has none. The same package has the
    same bill of materials.
    """
    own = metadata("hpoq")
    ref = f"pkg:pypi/hpoq@{own['Version']}"
    refs = {normalize_name(wheel.name): _compose_purl(wheel) for wheel in wheels}
    properties: list[JsonValue] = [
        {"name": "hpoq:runtime", "value": platform.runtime},
        {"name": "hpoq:architecture", "value": platform.architecture},
    ]
    if compiler:
        properties.append({"name": "hpoq:bytecode", "value": f"Python {compiler}"})
    application: JsonObject = {
        "type": "application",
        "bom-ref": ref,
        "name": "hpoq",
        "version": own["Version"],
        "purl": ref,
        "licenses": [{"license": {"id": own["License-Expression"]}}],
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": properties,
    }
    direct: list[JsonValue] = [
        refs[name] for name in sorted(own_requirements(platform, extras)) if name in refs
    ]
    dependencies: list[JsonValue] = [{"ref": ref, "dependsOn": direct}]
    for wheel in wheels:
        needs: list[JsonValue] = [refs[name] for name in wheel.needs(platform) if name in refs]
        dependencies.append({"ref": _compose_purl(wheel), "dependsOn": needs})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, sha256)}",
        "version": 1,
        "metadata": {"component": application},
        "components": [_describe_wheel(wheel) for wheel in wheels],
        "dependencies": dependencies,
    }


def _compose_purl(wheel: Wheel) -> str:
    return f"pkg:pypi/{normalize_name(wheel.name)}@{wheel.version}"


def _describe_wheel(wheel: Wheel) -> JsonObject:
    component: JsonObject = {
        "type": "library",
        "bom-ref": _compose_purl(wheel),
        "name": wheel.name,
        "version": wheel.version,
        "purl": _compose_purl(wheel),
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    licence = _read_licence(wheel)
    return {**component, "licenses": [licence]} if licence else component


def _read_licence(wheel: Wheel) -> JsonObject | None:
    """Return the licence that a wheel states, or None: an SPDX expression, or else a name, or else a classifier."""
    expression = wheel.metadata["License-Expression"]
    if expression:
        return {"expression": expression}
    name = (wheel.metadata["License"] or "").strip()
    if name and len(name) <= _LONGEST_LICENCE and "\n" not in name:
        return {"license": {"name": name}}
    classifiers = wheel.metadata.get_all("Classifier") or ()
    stated = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    return {"license": {"name": stated[0]}} if stated else None
