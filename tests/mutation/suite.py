"""Run the tests against mutants: the suite is collected once, then each mutant gets a fork of that process.

A recording run finds out which lines each test executes and how long it takes. A mutant is then tried with the tests
that execute its lines, the quickest first, until one fails. A mutant of a function is put in place by exchanging the
code of the function. One of what an import executes needs modules and tests that are imported anew.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import json
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from mutants import Mutant

_CPU_SECONDS = 3.0  # beside ten times what the test took when it was recorded
_WALL_SECONDS = 15.0
_MOST_PATIENCE = 16
_MOST_KILLERS = 4
_WEIGHT_OF_IMPORTING = 4  # of a test that may have nothing to do with a constant of the module
_MEMORY_BYTES = 4 << 30
_SURVIVED, _KILLED, _DOES_NOT_FIT, _BROKEN = range(4)
Coverage = dict[str, "Recorded"]


@dataclass
class Recorded:
    """What a passing test executes: lines by file of the core; its seconds of processor time and of wall time.

    `is_outside` says that it starts processes or uses the network, so that a loaded machine may make it fail.
    """

    lines: dict[str, list[int]]
    seconds: float
    wall_seconds: float
    is_outside: bool


@dataclass(frozen=True)
class Project:
    """The modules to mutate, and the tests that must notice it.

    `keep` is the folder of what was recorded about the tests. A mutant is tried with tests of `seconds` of processor
    time in all, and with such that start processes or use the network of `outside_seconds` of wall time.
    """

    root: Path
    modules: tuple[Path, ...]
    tests: tuple[str, ...]
    keep: Path
    seconds: float = 20.0
    outside_seconds: float = 8.0

    def pytest_arguments(self) -> list[str]:
        return ["-q", "--tb=native", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", str(self.root)]


def try_all(project: Project, mutants: list[Mutant], skipped: set) -> Iterator[tuple[Mutant, str, float]]:
    """Yield each mutant, how it ended, and the seconds that took. Those in `skipped` are not run."""
    wanted = [number for number, mutant in enumerate(mutants) if mutant.identity not in skipped]
    cold: list[int] = []  # those to be tried with modules that are imported anew
    coverage: Coverage = {}
    for message in _stream(lambda send: _collect(project, mutants, wanted, send)):
        if isinstance(message, dict):
            coverage = message
        else:
            number, status, seconds = message
            is_missed = status in ("survived", "untested")
            if status == "cold" or (is_missed and _is_of_import(mutants[number], coverage)):
                cold.append(number)
            else:
                yield mutants[number], status, seconds
    if not coverage:
        raise RuntimeError("the tests could not be collected; MUTATION_DEBUG=1 shows why")
    yield from ((mutant, "equivalent", 0.0) for mutant in mutants if mutant.identity in skipped)
    for number in cold:
        mutant = mutants[number]
        tests = choose_tests(mutant, coverage, project)
        began = time.monotonic()
        status, _ = _settle(
            lambda tests, patience, mutant=mutant: try_anew(project, mutant, tests, coverage, patience),
            lambda tests, patience: try_anew(project, None, tests, coverage, patience),
            tests,
            coverage,
        )
        yield mutant, status, time.monotonic() - began


def _collect(project, mutants, wanted, send):
    """Collect the suite; send what it covers, and how each mutant of a function ended."""

    def work(session):
        send(session.coverage)
        killers: list[str] = []  # the tests that noticed the last mutants, which often notice the next one
        for number in wanted:
            tests = choose_tests(mutants[number], session.coverage, project)
            first = [name for name in killers if name in tests]
            tests = list(dict.fromkeys([*first, *tests]))
            began = time.monotonic()
            status, test = _settle(
                lambda tests, patience, mutant=mutants[number]: session.try_mutant(mutant, tests, patience),
                lambda tests, patience: session.try_mutant(None, tests, patience),
                tests,
                session.coverage,
            )
            # A test with processes or sockets would slow down all the mutants after this one.
            recorded = session.coverage.get(test)
            if status == "killed" and recorded is not None and not recorded.is_outside:
                killers = list(dict.fromkeys([test, *killers]))[:_MOST_KILLERS]
            send((number, status, time.monotonic() - began))

    files = [str(path) for pattern in project.tests for path in sorted(project.root.glob(pattern))]
    session = Session(project, work)
    pytest.main([*project.pytest_arguments(), *files], plugins=[session])
    if session.error is not None:
        raise session.error


def _settle(try_mutant, try_code, tests, coverage):
    """Return how a mutant ends that `try_mutant` tries, and the last test. A loaded machine notices nothing.

    If a test takes too long, or one that uses more than this process fails, the code itself must pass it in the same
    time. Otherwise the mutant is tried again with more patience, and in the end without that test.
    """
    patience = 1
    while tests:
        status, test = try_mutant(tests, patience)
        in_doubt = status == "timeout" or (
            status == "killed" and test in coverage and coverage[test].is_outside
        )
        if not in_doubt or try_code([test] if test else tests, patience)[0] == "survived":
            return status, test
        patience *= 4
        if patience > _MOST_PATIENCE:
            tests, patience = [name for name in tests if name != test], 1
    return "untested", ""


def _stream(run: Callable[[Callable[[object], None]], None]) -> Iterator[object]:
    """Yield what `run`, in a process of its own, sends."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what interrupts a run is for its first process
        with os.fdopen(writing, "wb", buffering=0) as results:
            if not os.environ.get("MUTATION_DEBUG"):
                _be_quiet()
            try:
                run(lambda message: results.write(pickle.dumps(message)) and None)
            except BaseException:  # noqa: BLE001 - it is raised in the other process
                results.write(pickle.dumps(RuntimeError(traceback.format_exc())))
            finally:
                os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as results, contextlib.suppress(EOFError):
            while True:
                message = pickle.load(results)
                if isinstance(message, Exception):
                    raise message
                yield message
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def choose_tests(mutant: Mutant, coverage: Coverage, project: Project) -> list[str]:
    """Return the tests that execute the lines of `mutant`, the quickest first, as far as the project's time allows.

    A test counts as quicker if it executes lines of the function that few tests execute, and as slower if it is a
    further case of a test function. What an import executes shows in any function of the module, and in the files
    that import it, but rather where the names are used that it gives a value.
    """
    file = str(mutant.module)
    wanted = {file: set(mutant.lines)}
    is_of_import = _is_of_import(mutant, coverage)
    if is_of_import:
        for name in mutant.names:
            for user, line in _find_uses(project.modules).get(name, ()):
                wanted.setdefault(user, set()).add(line)
    found = using = {
        name
        for name, test in coverage.items()
        if any(lines.intersection(test.lines.get(user, ())) for user, lines in wanted.items())
    }
    if is_of_import:
        imported = _module_name(mutant.module)
        files = {name.partition("::")[0] for name in coverage}
        importing = {name for name in files if imported in _find_imports(project.root / name)}
        found = using | {
            name
            for name, test in coverage.items()
            if test.lines.get(file) or name.partition("::")[0] in importing
        }
    reached = {name: set(mutant.scope).intersection(coverage[name].lines.get(file, ())) for name in found}
    counts = Counter(line for lines in reached.values() for line in lines)
    numbers: Counter[tuple[str, int]] = Counter()  # of the cases of a test function that reach as far
    order = {}
    for name in sorted(found, key=lambda name: coverage[name].seconds):
        test, fewest = coverage[name], min((counts[line] for line in reached[name]), default=len(found))
        case = name.partition("[")[0], fewest
        numbers[case] += 1
        weight = test.seconds * numbers[case] * fewest * (1 if name in using else _WEIGHT_OF_IMPORTING)
        order[name] = (test.is_outside, _rank(name), weight)
    chosen = []
    left = {False: project.seconds, True: project.outside_seconds}
    for name in sorted(order, key=order.__getitem__):
        test = coverage[name]
        cost = test.wall_seconds if test.is_outside else test.seconds
        if cost <= left[test.is_outside] or not chosen:
            chosen.append(name)
            left[test.is_outside] -= cost
    return chosen


def _is_of_import(mutant, coverage):
    """Return whether `mutant` changes what only an import executes, such as a function that makes constants."""
    file, scope = str(mutant.module), set(mutant.scope)
    return not any(scope.intersection(test.lines.get(file, ())) for test in coverage.values())


@functools.cache
def _find_uses(modules):
    """Return where each name is used in the modules, as pairs of file and line."""
    found = defaultdict(list)
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                found[name].append((str(module), node.lineno))
    return found


def _rank(name):
    return 0 if "/unit/" in name else 1


def _digest_text(text):
    return hashlib.sha256(text.encode()).hexdigest()


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the content of files."""
    content = hashlib.sha256()
    for path in sorted(paths):
        content.update(path.read_bytes())
    return content.hexdigest()


class Session:
    """A plugin of pytest that records the collected tests, then calls `work` instead of running them."""

    def __init__(self, project: Project, work: Callable[[Session], None]) -> None:
        self._project = project
        self._work = work
        self._functions: dict[tuple[str, str, int], list[types.FunctionType]] = {}
        self._items: dict[str, pytest.Item] = {}
        self.coverage: Coverage = {}
        self.error: Exception | None = None

    def pytest_sessionstart(self) -> None:
        _fix_random_tests()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        for module in self._project.modules:
            # A module may need what only its tests put in place.
            with contextlib.suppress(ImportError):
                importlib.import_module(_module_name(module))
        try:
            self._record()
            self._find_functions()
            gc.collect()
            gc.freeze()
            self._work(self)
        except Exception as exc:  # noqa: BLE001 - pytest would show it where nobody looks
            self.error = exc
        return True

    def try_mutant(self, mutant: Mutant | None, tests: list[str], patience: int) -> tuple[str, str]:
        """Return how a mutant, or the code itself, ends, and the last test that was run.

        It ends as killed, timeout or survived, or as cold if it cannot be put in place here.
        """

        def run(note):
            if mutant is None or self._put_in_place(mutant):
                return _run_items([self._items[name] for name in tests], self.coverage, patience, note)
            return _DOES_NOT_FIT

        return _describe(*_fork(run))

    def _put_in_place(self, mutant):
        code = mutant.compile()
        return self._exchange(mutant, code) if mutant.function else exchange_values(mutant.module, code)

    def _exchange(self, mutant, code):
        """Give the live functions the code of the mutant; return whether all is in place."""
        fits = False
        for new in _walk_code(code):
            for function in self._functions.get((str(mutant.module), new.co_name, new.co_firstlineno), ()):
                if function.__code__.co_freevars != new.co_freevars:
                    return False
                function.__code__ = new
                fits = True
        return fits

    def _find_functions(self):
        found = defaultdict(list)
        files = {str(module) for module in self._project.modules}
        gc.unfreeze()  # a cold start freezes what it made, which hides it
        for function in gc.get_objects():
            if isinstance(function, types.FunctionType) and function.__code__.co_filename in files:
                code = function.__code__
                found[code.co_filename, code.co_name, code.co_firstlineno].append(function)
        self._functions = dict(found)

    def _record(self):
        """Record the tests whose file, or a file that one of them executes, has changed since the last time."""
        root = self._project.root
        helpers = [path for path in (root / "tests").rglob("*.py") if "test_" not in path.name]
        # What is recorded names files by their whole path, so it does not hold for a copy of the project.
        common = str(root) + digest(path for path in helpers if "mutation" not in path.parts)
        files = defaultdict(list)
        for name in self._items:
            files[name.partition("::")[0]].append(name)
        imported: set[str] = set()
        for file, names in files.items():
            kept = self._project.keep / f"{_digest_text(common + file + digest([root / file]))}.json"
            record = _read_record(kept)
            if record is None:
                _fork(lambda _note, names=names, kept=kept: self._record_items(names, kept))
                record = _read_record(kept) or {"tests": {}, "imports": []}
            self.coverage |= {name: Recorded(**test) for name, test in record["tests"].items()}
            imported |= set(record["imports"])
        self.coverage = {name: test for name, test in self.coverage.items() if name in self._items}
        for name in sorted(imported):
            # Otherwise each fork would import it anew. What a test had put in place cannot be imported.
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def _record_items(self, names, kept):
        root = f"{self._project.root}{os.sep}"
        core = {str(module) for module in self._project.modules}
        executed, tests, imported = set(), {}, set(sys.modules)
        for name, following in _pairs(names):
            lines, uses = defaultdict(set), []
            trace = _make_trace(core, lines, executed)
            # Otherwise only the first test that asks for a cached value would execute its lines.
            _clear_caches(self._project.modules)
            with _listening(uses):
                began, wall_began = time.process_time(), time.monotonic()
                threading.settrace(trace)
                sys.settrace(trace)
                reports = _run_item(self._items[name], following and self._items[following])
                sys.settrace(None)
                threading.settrace(None)
                seconds, wall_seconds = time.process_time() - began, time.monotonic() - wall_began
            if all(report.passed for report in reports):
                shown = {file: sorted(found) for file, found in lines.items()}
                tests[name] = asdict(Recorded(shown, seconds, wall_seconds, bool(uses)))
        executed.discard(__file__)
        sources = {file: digest([Path(file)]) for file in executed if file.startswith(root)}
        kept.parent.mkdir(parents=True, exist_ok=True)
        imports = sorted(set(sys.modules) - imported)
        kept.write_text(json.dumps({"sources": sources, "tests": tests, "imports": imports}))
        return 0


def _clear_caches(modules):
    for module in modules:
        for value in vars(sys.modules.get(_module_name(module), types)).values():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


def _read_record(kept):
    """Return what was recorded in the file `kept`, or None if nothing was or it does not hold any more."""
    if not kept.exists():
        return None
    record = json.loads(kept.read_text())
    for file, known in record["sources"].items():
        if not Path(file).exists() or digest([Path(file)]) != known:
            return None
    return record


def try_anew(
    project: Project, mutant: Mutant | None, tests: list[str], coverage: Coverage, patience: int
) -> tuple[str, str]:
    """Return how a mutant that changes what an import executes, or the code itself, ends, and the last test."""

    def run(note):
        if mutant is not None:
            _replace_module(mutant.module, mutant.compile())
        wanted = {name: place for place, name in enumerate(tests)}

        class Chosen:
            def pytest_sessionstart(self):
                _fix_random_tests()

            def pytest_runtestloop(self, session):
                items = [item for item in session.items if item.nodeid in wanted]
                items.sort(key=lambda item: wanted[item.nodeid])
                os._exit(_run_items(items, coverage, patience, note))

        files = dict.fromkeys(str(project.root / name.partition("::")[0]) for name in tests)
        _limit(30.0, 120.0, patience)
        return pytest.main([*project.pytest_arguments(), *files], plugins=[Chosen()])

    return _describe(*_fork(run))


def exchange_values(path: Path, code: types.CodeType) -> bool:
    """Give the live module the values that `code` gives its names; return whether that is all that is changed.

    What is found in a module, a class or the defaults of a function is exchanged, also where it was imported to.
    """
    live = sys.modules[_module_name(path)]
    new = types.ModuleType(live.__name__)
    new.__dict__.update({name: getattr(live, name) for name in ("__file__", "__package__", "__spec__")})
    try:
        exec(code, new.__dict__)
    except Exception:  # noqa: BLE001 - the tests will see it
        return False
    changed = [change for name in vars(live) for change in _compare(live, new, name)]
    for owner, name, old, value in changed:
        if " at 0x" in repr(value):
            return False
        holders = [owner] if owner is not live else list(sys.modules.values())
        for holder in holders:
            if getattr(holder, name, new) is old:
                try:
                    setattr(holder, name, value)
                except AttributeError:  # a member of an enumeration
                    return False
    return bool(changed)


def _compare(live, new, name):
    """Yield owner, name, old value and new value of each difference."""
    old, value = vars(live)[name], vars(new).get(name)
    if name.startswith("__") or isinstance(old, types.ModuleType):
        return
    if (
        isinstance(old, type)
        and isinstance(value, type)
        and old.__module__ == live.__name__ == value.__module__
    ):
        for member in vars(old):
            yield from _compare_members(old, value, member)
    elif isinstance(old, types.FunctionType) and isinstance(value, types.FunctionType):
        yield from _compare_defaults(old, value)
    elif _repr(old) != _repr(value):
        yield live, name, old, value


def _compare_members(old, new, name):
    before, after = vars(old)[name], vars(new).get(name)
    if name == "__dataclass_fields__":
        for field in before:
            if _repr(before[field].default) != _repr(after[field].default):
                yield before[field], "default", before[field].default, after[field].default
                yield old, field, vars(old).get(field), after[field].default
    elif isinstance(before, types.FunctionType) and isinstance(after, types.FunctionType):
        yield from _compare_defaults(before, after)
    elif not name.startswith("__") and _repr(before) != _repr(after):
        yield old, name, before, after


def _compare_defaults(old, new):
    for name in ("__defaults__", "__kwdefaults__"):
        if _repr(getattr(old, name)) != _repr(getattr(new, name)):
            yield old, name, getattr(old, name), getattr(new, name)


def _repr(value):
    return re.sub(r" at 0x\w+", "", repr(value))


def _fix_random_tests():
    """Make the random tests choose the same examples in each run."""
    from hypothesis import settings

    settings.register_profile("mutation", settings.default, derandomize=True, database=None)
    settings.load_profile("mutation")


def _module_name(path):
    """Return the name under which the file `path` is imported."""
    folders = []
    for folder in path.parents:
        if not (folder / "__init__.py").exists():
            break
        folders.insert(0, folder.name)
    return ".".join([*folders, *([] if path.stem == "__init__" else [path.stem])])


@functools.cache
def _find_imports(path):
    """Return the full names of what the module at `path` imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _walk_code(code):
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _walk_code(constant)


def _replace_module(path, code):
    """Make the import of the module `path` execute `code`."""
    get_code = importlib.machinery.SourceFileLoader.get_code

    def get(self, name):
        return code if self.path == str(path) else get_code(self, name)

    importlib.machinery.SourceFileLoader.get_code = get


def _pairs(names):
    return zip(names, [*names[1:], None], strict=True)


def _run_items(items, coverage, patience, note):
    """Return whether a test fails. `note` is called with the name of each before it is run."""
    for item, following in _pairs(items):
        note(item.nodeid)
        test = coverage[item.nodeid]
        _limit(10 * test.seconds, 10 * test.wall_seconds, patience)
        if any(report.failed for report in _run_item(item, following)):
            return _KILLED
    return _SURVIVED


def _run_item(item, following):
    from _pytest.runner import runtestprotocol

    return runtestprotocol(item, nextitem=following, log=False)


def _limit(seconds, wall_seconds, patience):
    """End this process unless the next test ends in time."""
    signal.setitimer(signal.ITIMER_PROF, (_CPU_SECONDS + seconds) * patience)
    signal.setitimer(signal.ITIMER_REAL, (_WALL_SECONDS + wall_seconds) * patience)


def _fork(run: Callable[[Callable[[str], object]], int]) -> tuple[int, str]:
    """Run in a process of its own; return its exit code and the last text that it noted.

    The code is the negative number of the signal that ended it, if one did.
    """
    folder = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if child == 0:
        code = _BROKEN
        try:
            os.setpgid(0, 0)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = folder
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            if not os.environ.get("MUTATION_DEBUG"):
                _be_quiet()
            code = run(Path(folder, "note").write_text)
        except BaseException:  # noqa: BLE001 - it is raised in the other process
            Path(folder, "error").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what the tests had started
    error, note = (
        path.read_text() if path.exists() else "" for path in (Path(folder, "error"), Path(folder, "note"))
    )
    shutil.rmtree(folder, ignore_errors=True)
    if error:
        raise RuntimeError(f"the mutation run failed, not a test:\n{error}")
    return os.waitstatus_to_exitcode(status), note


def _be_quiet():
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(nothing, number)


def _describe(code, note):
    if code in (_SURVIVED, _DOES_NOT_FIT):
        return "survived" if code == _SURVIVED else "cold", note
    return "timeout" if code in (-signal.SIGPROF, -signal.SIGALRM) else "killed", note


def _make_trace(core, lines, executed):
    """Return a function for `sys.settrace` that notes what is executed: the files, and the lines of the core."""

    def trace_lines(frame, event, _argument):
        if event == "line":
            lines[frame.f_code.co_filename].add(frame.f_lineno)
        return trace_lines

    def trace(frame, _event, _argument):
        file = frame.f_code.co_filename
        executed.add(file)
        if file not in core:
            return None
        lines[file].add(frame.f_lineno)
        return trace_lines

    return trace


_listeners: list[list[str]] = []
_OUTSIDE = ("subprocess.Popen", "os.fork", "os.posix_spawn", "socket.connect")


@contextlib.contextmanager
def _listening(uses):
    """Add to `uses` what other processes use in the meantime."""
    if not _listeners:
        _listeners.append(uses)
        sys.addaudithook(lambda event, _arguments: event in _OUTSIDE and _listeners[-1].append(event))
    _listeners.append(uses)
    try:
        yield
    finally:
        _listeners.append([])
