"""A software bill of materials, the same for the same package: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from importlib.metadata import metadata

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.packaging.platform import Platform
from hpoq.packaging.wheels import Wheel, plain, requirements

_LONGEST_LICENCE = 80


def sbom(
    wheels: Sequence[Wheel], platform: Platform, extras: Iterable[str], sha256: str, compiler: str | None
) -> JsonObject:
    """What the package whose digest is `sha256` was built of; `compiler` is the Python that made its bytecode."""
    own = metadata("hpoq")
    ref = f"pkg:pypi/hpoq@{own['Version']}"
    refs = {plain(wheel.name): _purl(wheel) for wheel in wheels}
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
    direct: list[JsonValue] = [refs[name] for name in sorted(requirements(platform, extras)) if name in refs]
    dependencies: list[JsonValue] = [{"ref": ref, "dependsOn": direct}]
    for wheel in wheels:
        needs: list[JsonValue] = [refs[name] for name in wheel.needs(platform) if name in refs]
        dependencies.append({"ref": _purl(wheel), "dependsOn": needs})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, sha256)}",
        "version": 1,
        "metadata": {"component": application},
        "components": [_component(wheel) for wheel in wheels],
        "dependencies": dependencies,
    }


def _purl(wheel: Wheel) -> str:
    return f"pkg:pypi/{plain(wheel.name)}@{wheel.version}"


def _component(wheel: Wheel) -> JsonObject:
    component: JsonObject = {
        "type": "library",
        "bom-ref": _purl(wheel),
        "name": wheel.name,
        "version": wheel.version,
        "purl": _purl(wheel),
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    licence = _licence(wheel)
    return {**component, "licenses": [licence]} if licence else component


def _licence(wheel: Wheel) -> JsonObject | None:
    """As precisely as the distribution says: an SPDX expression, a name, or a classifier."""
    expression = wheel.metadata["License-Expression"]
    if expression:
        return {"expression": expression}
    name = (wheel.metadata["License"] or "").strip()
    if name and len(name) <= _LONGEST_LICENCE and "\n" not in name:
        return {"license": {"name": name}}
    classifiers = wheel.metadata.get_all("Classifier") or ()
    told = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    return {"license": {"name": told[0]}} if told else None
