"""What Function Compute hands a Python function, and what it expects back. Usable without hpoq."""

from fcruntime.context import Deadline, Fc2Context, Fc3Context, Invocation
from fcruntime.invoke import InvokeResult, invoke

__all__ = ["Deadline", "Fc2Context", "Fc3Context", "Invocation", "InvokeResult", "invoke"]
