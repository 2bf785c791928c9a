"""The platforms that a code package can be built for.

The systems of the runtimes are documented in
https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/runtime-overview.
Debian 10 has glibc 2.28 and Debian 11 has 2.31. PEP 600 defines which wheels run there.
"""

from __future__ import annotations

from dataclasses import dataclass

_OLDEST_GLIBC = 17  # the one of manylinux2014

RUNTIMES = {
    "python3.10": ("3.10", 28),
    "python3.12": ("3.12", 31),
    "custom.debian10": ("3.10", 28),
    "custom.debian11": ("3.12", 31),
}
"""The version of Python and the minor version of glibc 2 of each runtime."""

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""The architectures: FC's names, and the names in the tags of wheels."""


@dataclass(frozen=True)
class Platform:
    """A runtime and an architecture, with the names that FC uses."""

    runtime: str
    architecture: str

    def __str__(self) -> str:
        return f"--runtime {self.runtime} --arch {self.architecture}"

    @property
    def python(self) -> str:
        """The version of Python there, such as `3.10`."""
        return RUNTIMES[self.runtime][0]

    @property
    def tags(self) -> list[str]:
        """The platform tags of the wheels that run there, best first."""
        machine, newest = ARCHITECTURES[self.architecture], RUNTIMES[self.runtime][1]
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
        return [*tags, f"manylinux2014_{machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of requirement markers there (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": ARCHITECTURES[self.architecture],
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
