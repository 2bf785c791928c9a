"""What a code package is built for.

Systems of the runtimes: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/runtime-overview. Debian
10 has glibc 2.28, Debian 11 has 2.31; PEP 600 says which wheels run there.
"""

from __future__ import annotations

from dataclasses import dataclass

_OLDEST_GLIBC = 17  # manylinux2014's

RUNTIMES = {
    "python3.10": ("3.10", 28),
    "python3.12": ("3.12", 31),
    "custom.debian10": ("3.10", 28),
    "custom.debian11": ("3.12", 31),
}
"""Each runtime's version of Python and minor version of glibc."""

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""The names of architectures, as FC has them and as wheels do."""


@dataclass(frozen=True)
class Platform:
    """A runtime of FC on an architecture, both as FC names them."""

    runtime: str
    architecture: str

    @property
    def python(self) -> str:
        """The version of Python, such as `3.10`."""
        return RUNTIMES[self.runtime][0]

    @property
    def tags(self) -> list[str]:
        """The platform tags of the wheels that run there, best first."""
        machine, newest = ARCHITECTURES[self.architecture], RUNTIMES[self.runtime][1]
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
        return [*tags, f"manylinux2014_{machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """What the markers of requirements see there (PEP 508)."""
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
