"""Whether a handler can be loaded, judged from its code without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def find_handler_problem(handler: str, code: Path) -> str | None:
    """Return why `handler`, such as `index.handler`, cannot be called from the folder `code`, or None.

    A name that a module may get from `import *`, from its `__getattr__` or from compiled code counts as present.
    """
    module, dot, name = handler.rpartition(".")
    module = module.replace("/", ".")
    if not dot or not module or not name:
        return f"{handler!r} is not of the form MODULE.FUNCTION, such as index.handler"
    spec = _find_spec(module, code)
    if spec is None:
        return f"there is no module {module} in {code.resolve()}, so every call fails"
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError) as exc:
        return f"the module {module} cannot be read: {exc}"
    names = set(_find_names(tree))
    if names & {name, "*", "__getattr__"}:
        return None
    return f"the module {module} has no {name}, so every call fails"


def _find_spec(module: str, code: Path) -> ModuleSpec | None:
    """Return where `module` is, without importing the packages that it is in."""
    path: list[str] | None = [str(code.resolve()), *sys.path]
    spec, parts = None, module.split(".")
    for number in range(1, len(parts) + 1):
        if path is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:number]), path)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        path = None if places is None else list(places)
    return spec


def _find_names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is bound at the top of a module, in an `if` or a `try` too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (one.asname or one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            yield from _find_names(node)
