"""Make the mutants of a module: small changes of its syntax tree, each of which some test should notice.

What is not changed, because it is no behaviour or is checked elsewhere: annotations, imports, decorators, docstrings,
texts for people (strings with a space), and what a log line carries beside its name. Removing the line is a mutant.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_COMPARISONS = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}
_METHODS = {"strip", "lstrip", "rstrip", "lower", "upper", "casefold", "copy"}
_LOG_LEVELS = {"debug", "info", "warning", "error", "exception"}
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPOUND = (*_FUNCTION, ast.ClassDef, ast.If, ast.For, ast.While, ast.With, ast.Try, ast.ExceptHandler)
_LEAST_CONTEXT = 30  # characters of code that identify the place of a mutant


Place = tuple[ast.AST, str, "int | None"]  # a node, the name of its field, and the index if that is a list


@dataclass
class Mutant:
    """One change of one module.

    `function` is the qualified name of the top-level function or method that it changes, or "" if it changes what
    is executed when the module is imported. `before` and `after` show the code around the change. `lines` are those
    that a test must execute to notice it, `scope` those of the function. `names` are those that the changed statement
    gives a value.
    """

    module: Path
    function: str
    before: str
    after: str
    lines: range
    scope: range
    names: frozenset[str]
    _tree: ast.Module = field(repr=False)
    _place: Place = field(repr=False)
    _new: ast.AST | None = field(repr=False)

    @property
    def change(self) -> str:
        """What is changed, in one line that identifies the mutant within its function."""
        return f"{self.before} -> {self.after}"

    @property
    def identity(self) -> tuple[Path, str, str]:
        """The module, the function and the change."""
        return self.module, self.function, self.change

    def compile(self) -> types.CodeType:
        """Return the code of the mutated module. Changes the tree that the mutants of a module share."""
        _put(self._place, self._new)
        return compile(ast.fix_missing_locations(self._tree), str(self.module), "exec")

    def __str__(self) -> str:
        return f"{self.lines.start} {self.function or 'at import'}: {self.change}"


def _put(place, new):
    parent, name, index = place
    if index is None:
        setattr(parent, name, new)
    elif new is None:
        del getattr(parent, name)[index]
    else:
        getattr(parent, name)[index] = new


def parse(module: Path) -> list[Mutant]:
    """Return the mutants of the module at `module`."""
    tree = ast.parse(module.read_text())
    return [*_Walk(module, tree).visit_body(tree)]


class _Walk:
    """A walk through the tree that knows what stands around a node."""

    def __init__(self, module: Path, tree: ast.Module) -> None:
        self._module = module
        self._tree = tree
        self._names: list[str] = []  # of the classes, and of the function, around
        self._function: ast.AST | None = None
        self._around: list[ast.AST] = []

    def visit_body(self, node: ast.AST) -> Iterator[Mutant]:
        for name, value in ast.iter_fields(node):
            yield from self._visit_field(node, name, value)

    def _visit_field(self, node, name, value):
        if name in _left_out(node):
            return
        self._around.append(node)
        if isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, ast.AST):
                    yield from self._visit((node, name, index), child)
        elif isinstance(value, ast.AST):
            yield from self._visit((node, name, None), value)
        self._around.pop()

    def _visit(self, place, node):
        if _is_no_behaviour(node):
            return
        for new in _replacements(node, self._around[-1]):
            yield self._make(place, node, new)
        for inner, new in _inner_replacements(node):
            yield self._make(inner, node, new)
        if isinstance(node, ast.Expr) and _is_log_call(node.value):
            return
        if isinstance(node, (*_FUNCTION, ast.ClassDef)) and self._function is None:
            self._names.append(node.name)
            for name, value in ast.iter_fields(node):
                # The defaults of a function are evaluated when its module is imported.
                self._function = node if isinstance(node, _FUNCTION) and name == "body" else None
                yield from self._visit_field(node, name, value)
            self._function = None
            self._names.pop()
        else:
            yield from self.visit_body(node)

    def _make(self, place, node, new):
        shown = [*self._around, node]
        start = len(shown) - 1
        while start and len(_show(shown[start])) < _LEAST_CONTEXT and not isinstance(shown[start], ast.stmt):
            if isinstance(shown[start - 1], (*_COMPOUND, ast.Module, ast.arguments)):
                break
            start -= 1
        context, old = shown[start], _get(place)
        before = _show(context)
        if context is old:
            after = _show(new)
        else:
            _put(place, new)
            after = _show(context)
            _restore(place, old, new)
        statement = next(n for n in reversed(shown) if isinstance(n, (ast.stmt, ast.ExceptHandler)))
        return Mutant(
            self._module,
            ".".join(self._names) if self._function else "",
            before,
            after,
            _header_lines(statement),
            range(self._function.lineno, self._function.end_lineno + 1) if self._function else range(0),
            _find_names(statement),
            self._tree,
            place,
            new,
        )


def _get(place):
    value = getattr(place[0], place[1])
    return value if place[2] is None else value[place[2]]


def _restore(place, old, new):
    if new is None and place[2] is not None:
        getattr(place[0], place[1]).insert(place[2], old)
    else:
        _put(place, old)


def _find_names(statement):
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    nodes = [node for target in targets if target is not None for node in ast.walk(target)]
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name))


def _header_lines(statement):
    if isinstance(statement, ast.Match):
        return range(statement.lineno, statement.subject.end_lineno + 1)
    if isinstance(statement, _COMPOUND) and getattr(statement, "body", None):
        return range(statement.lineno, max(statement.lineno + 1, statement.body[0].lineno))
    return range(statement.lineno, statement.end_lineno + 1)


def _show(node):
    """Return the code of `node` in one line; of a compound statement only its head."""
    if node is None:
        return "(removed)"
    if isinstance(node, _COMPOUND):
        text = ast.unparse(node).partition("\n")[0]
    elif isinstance(node, ast.keyword):
        text = f"{node.arg}={ast.unparse(node.value)}"
    else:
        text = ast.unparse(ast.fix_missing_locations(node))
    return " ".join(text.split())


def _left_out(node):
    if isinstance(node, ast.ClassDef):
        return {"decorator_list", "bases", "keywords"}
    if isinstance(node, _FUNCTION):
        return {"decorator_list", "returns", "type_params"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
        return {"args"}
    return {"annotation", "ctx", "op", "ops"}


def _is_no_behaviour(node):
    """Return whether neither `node` nor what is in it is changed."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring, or an ellipsis
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    if isinstance(node, ast.AnnAssign) and getattr(node.annotation, "id", "") == "TypeAlias":
        return True
    if isinstance(node, ast.Assign):
        names = {getattr(target, "id", "") for target in node.targets}
        value = node.value
        makes_type = isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("TypeVar", "ParamSpec")
        return bool(names & {"__all__", "__slots__"}) or makes_type
    if isinstance(node, ast.JoinedStr):
        texts = (part.value for part in node.values if isinstance(part, ast.Constant))
        return any(" " in text for text in texts)
    return False


def _is_log_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LOG_LEVELS
        and isinstance(node.func.value, (ast.Call, ast.Name))
        and "log" in ast.unparse(node.func.value)
    )


def _replacements(node, parent):
    """Yield what may stand in the place of `node`."""
    if isinstance(node, ast.stmt):
        yield from _statement_replacements(node)
    elif isinstance(node, ast.Constant):
        yield from _constant_replacements(node, parent)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other, node.values)
        for index in range(len(node.values)):
            rest = node.values[:index] + node.values[index + 1 :]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Lambda) and not (
        isinstance(node.body, ast.Constant) and node.body.value is None
    ):
        yield ast.Lambda(node.args, ast.Constant(None))
    elif isinstance(node, ast.Call):
        yield from _call_replacements(node)


def _statement_replacements(node):
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    is_state = any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets)
    is_removed = (
        isinstance(node, (ast.Raise, ast.AugAssign, ast.Delete))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        or (isinstance(node, (ast.Assign, ast.AnnAssign)) and is_state)
    )
    if is_removed:
        yield ast.Pass()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Return):
        if node.value is None:
            yield ast.Pass()
        elif not (isinstance(node.value, ast.Constant) and node.value.value in (None, False)):
            yield ast.Return(ast.Constant(None))


def _constant_replacements(node, parent):
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, str):
        if " " not in value:
            yield ast.Constant("" if value else "mutant")
    elif isinstance(value, bytes):
        yield ast.Constant(b"" if value else b"mutant")


def _call_replacements(node):
    function = node.func
    if isinstance(function, ast.Name) and function.id in _FUNCTIONS:
        yield ast.Call(ast.Name(_FUNCTIONS[function.id], ast.Load()), node.args, _keep_keywords(node))
        if function.id in ("min", "max") and len(node.args) > 1 and not node.keywords:
            yield from node.args  # one limit alone
    elif isinstance(function, ast.Attribute) and function.attr in _METHODS and not node.keywords:
        yield function.value
    first = node.args[:2]
    is_pair = len(first) == 2 and not any(isinstance(arg, ast.Starred) for arg in first)
    is_pair = is_pair and getattr(function, "id", "") not in ("min", "max")
    if is_pair and ast.dump(first[0]) != ast.dump(first[1]):
        yield ast.Call(function, [*reversed(first), *node.args[2:]], node.keywords)
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield ast.Call(function, node.args, node.keywords[:index] + node.keywords[index + 1 :])


def _keep_keywords(node):
    return [] if getattr(node.func, "id", "") in ("sorted", "reversed") else node.keywords


def _inner_replacements(node):
    """Yield places inside `node`, which is shown as a whole, and what may stand there."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield (node, "ops", index), other()
    elif isinstance(node, (ast.If, ast.While)):
        for value in (True, False) if isinstance(node, ast.If) else (False,):
            yield (node, "test", None), ast.Constant(value)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield (node, "op", None), _ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.For):
        yield (node, "iter", None), ast.Tuple([], ast.Load())
    elif isinstance(node, ast.comprehension):
        yield from (((node, "ifs", index), ast.Constant(True)) for index in range(len(node.ifs)))
    else:
        yield from _removals(node)


def _removals(node):
    """Yield the parts of `node` that may be left out, and what then stands there."""
    if isinstance(node, ast.Slice):
        yield from (((node, name, None), None) for name in ("lower", "upper") if getattr(node, name))
    elif isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
        yield from (((node.type, "elts", index), None) for index in range(len(node.type.elts)))
    elif isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield (node, "type", None), ast.Tuple([], ast.Load())
