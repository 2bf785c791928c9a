"""Function Compute: event functions of Python, each instance a process of its own."""

from __future__ import annotations

from alilocal.fc.function import Function
from alilocal.fc.result import InvocationResult

__all__ = ["Function", "InvocationResult"]
