"""`hpoq package`: its result runs where nothing else is installed, and is the same on every machine."""

import ast
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import alilocal
from alilocal.tablestore.model import STRING
from hpoqctl.app import app
from hpoqctl.packaging.wheels import Wheel
from support.budget import BUDGET, FULL_BUDGET, in_ci
from support.building import build, interpreter
from support.deployment import function_environment, tablestore_url
from support.processes import HPOQ_COMMAND, run_program

ROOT = Path(__file__).parents[2]
VENDORS = re.compile(
    r"^(boto3|botocore|mns|alibabacloud_\w+|Tea|tablestore|aws_lambda_powertools|pip|setuptools)/"
)
NOT_DEPLOYED = re.compile(
    r"(^|/)tests?/|^hpoq/(testing/|producer/|__main__\.py|idempotency/powertools\.py)|^hpoqctl/"
)
ENTRY_POINTS = ("hpoq.handler", "fcruntime.__main__")
PYTHON = "python{}.{}".format(*sys.version_info)
UNCHECKED = (1).to_bytes(4, "little")  # PEP 552's flags
HANDLES = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
os.environ.update(json.loads(sys.argv[2]))
from fcruntime import Fc3Context, invoke
import hpoq.handler
context = Fc3Context("r-1")
hpoq.handler.initialize(context)
result = invoke("hpoq.handler.handler", open(sys.argv[3], "rb").read(), context)
hpoq.handler.pre_stop(context)
outside = [m.__file__ for m in sys.modules.values()
           if getattr(m, "__file__", None) and not m.__file__.startswith((sys.base_prefix, *sys.path[:2]))]
print(json.dumps({"version": sys.version_info[:2], "body": json.loads(result.body), "outside": outside}))
"""

IMPORTS = """
import importlib, json, pkgutil, sys
sys.path[:0] = sys.argv[1:]
from fcruntime.powertools import idempotency_without_boto3
idempotency_without_boto3()
import hpoq.handler  # first, as in an instance
missing = {}
for top in ("hpoq", "fcruntime"):
    package = importlib.import_module(top)
    for module in pkgutil.walk_packages(package.__path__, top + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as exc:
                missing[module.name] = exc.name
print(json.dumps(missing))
"""
REDIS = ("--extra", "redis")
EXTRAS = (*REDIS, "--extra", "powertools", "--extra", "otel")
LAYERED = (*EXTRAS, "--layer")
FOREIGN = ("--layer", "--arch", "arm64", "--no-bytecode")
# A build takes 4 to 10 s of processor time, so tests share one: plain 3.12. CI also has FOREIGN, LAYERED, and REDIS
# with 3.10.


def paths(report, index=0):
    with zipfile.ZipFile(report["packages"][index]["path"]) as archive:
        return archive.namelist()


def unpacked(report, folder):
    for package in report["packages"]:
        with zipfile.ZipFile(package["path"]) as archive:
            archive.extractall(folder)
    return folder


def spoil_sources(code):
    for path in code.rglob("*.py"):
        path.write_text("raise SystemExit('a source was compiled')\n")


def drop_bytecode(code):
    for path in code.rglob("*.pyc"):
        path.unlink()


@pytest.mark.parametrize(
    ("version", "options", "change"),
    [
        pytest.param("3.12", (), spoil_sources, id="3.12 by bytecode alone"),
        *in_ci(
            pytest.param("3.10", REDIS, spoil_sources, id="3.10 by bytecode alone"),
            pytest.param("3.12", (), drop_bytecode, id="3.12 without bytecode"),
            pytest.param("3.12", LAYERED, spoil_sources, id="3.12 with a layer, by bytecode alone"),
        ),
    ],
)
def test_it_handles_an_event_where_nothing_is_installed(built, tmp_path, version, options, change):
    found = interpreter(version)
    report = built("--runtime", f"python{version}", *options)
    code = unpacked(report, tmp_path / "code")
    change(code)
    with alilocal.serve() as server:
        cloud = server.cloud
        cloud.topics.create("hpo-results")
        cloud.tables.create("hpoq", [("key", STRING)])
        environ = function_environment(server, HPOQ_STORE=tablestore_url(server))
        event = ROOT / "events/triggers/smq-queue/03-event-stream-batch.json"
        places = [str(code), str(code / "python")]
        # Without its site-packages.
        command = [found, "-I", "-S", "-c", HANDLES, json.dumps(places), json.dumps(environ), event]
        done = run_program(command, cwd=tmp_path, env={})
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        made = [experiment.name for experiment in cloud.experiments]
    assert result["version"] == [int(part) for part in version.split(".")]
    assert result["outside"] == []
    assert "Warning" not in done.stderr
    assert result["body"]["summary"]["created"] == len(made) > 0


def test_it_holds_nothing_that_guesses_encodings(built):
    """hpoq reads bytes: what requests would need to guess the encoding of a text is left out, also of the lock."""
    report = built("--runtime", "python3.12")
    named = [*paths(report), *Path(report["lock"]).read_text().splitlines(), Path(report["sbom"]).read_text()]
    assert not [name for name in named if re.search("chardet|charset.normalizer", name)]
    assert any(name.startswith("requests/") for name in named)


def own_sources(report):
    """Return the sources of hpoq and fcruntime in a built zip, by the names of their modules."""
    sources = {}
    with zipfile.ZipFile(report["packages"][0]["path"]) as archive:
        for name in archive.namelist():
            if name.startswith(("hpoq/", "fcruntime/")) and name.endswith(".py"):
                module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
                sources[module] = archive.read(name)
    return sources


def named_modules(tree):
    """Yield the names that `tree` may import when it runs: by a statement, or by a string for `import_module`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        yield from named_modules(node)


def find_unreachable(sources, entry_points=ENTRY_POINTS):
    """Return the modules that no chain of imports from the entry points leads to."""
    reached, waiting = set(), list(entry_points)
    while waiting:
        module = waiting.pop()
        if module in sources and module not in reached:
            reached.add(module)
            waiting += [module.rpartition(".")[0], *named_modules(ast.parse(sources[module]))]
    return sources.keys() - reached


def test_the_handler_reaches_every_module_of_the_package(built):
    """The package holds no module of hpoq or fcruntime that the handler cannot import, lazy imports included."""
    sources = own_sources(built("--runtime", "python3.12"))
    assert set(ENTRY_POINTS) < sources.keys()
    assert find_unreachable(sources) == set()
    assert find_unreachable({**sources, "hpoq.extra": b"import hpoq.handler"}) == {"hpoq.extra"}


WITHOUT_EXTRAS = {"hpoq.idempotency.redis": "redis", "hpoq.observability.otel": "opentelemetry"}


@pytest.mark.parametrize(
    ("version", "options", "missing"),
    [
        ("3.12", (), WITHOUT_EXTRAS),
        *in_ci(
            ("3.10", REDIS, {"hpoq.observability.otel": "opentelemetry"}),
            ("3.12", LAYERED, {}),
        ),
        *(
            [("3.10", EXTRAS, {}), ("3.10", LAYERED, {}), ("3.12", EXTRAS, {})]
            if BUDGET >= FULL_BUDGET
            else []
        ),
    ],
)
def test_every_module_finds_what_it_imports(built, tmp_path, version, options, missing):
    """Every module of a package can be imported, also those that an instance imports late."""
    found = interpreter(version)
    code = unpacked(built("--runtime", f"python{version}", *options), tmp_path)
    command = [found, "-I", "-S", "-W", "error", "-c", IMPORTS, code, code / "python"]
    done = run_program(command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == missing


@pytest.mark.in_ci
@pytest.mark.parametrize(("version", "options"), [("3.10", REDIS), ("3.12", LAYERED)])
def test_a_package_holds_what_its_runtime_needs_whichever_python_builds_it(built, version, options):
    """pip goes by the Python that runs it: redis needs a package up to 3.11.2 that later ones do without."""
    locked = Path(built("--runtime", f"python{version}", *options)["lock"]).read_text()
    assert ("async-timeout==" in locked) is (version == "3.10")


@pytest.mark.in_ci
def test_the_same_wheels_make_the_same_bytes(built, tmp_path):
    """In another folder, another time zone, with other permissions for new files, from the lock."""
    report = built("--runtime", "python3.10", *REDIS)
    before = os.umask(0o077)
    try:
        again = build(
            tmp_path / "elsewhere",
            "--runtime",
            "python3.10",
            *REDIS,
            "--lock",
            report["lock"],
            TZ="Asia/Shanghai",
            PYTHONHASHSEED="7",
        )
    finally:
        os.umask(before)
    for name in ("lock", "sbom"):
        assert Path(again[name]).read_bytes() == Path(report[name]).read_bytes()
    (first,), (second,) = report["packages"], again["packages"]
    assert Path(first["path"]).read_bytes() == Path(second["path"]).read_bytes()


def test_the_same_modules_make_the_same_bytes(tmp_path, monkeypatch):
    """The folder and the permissions for new files do not change a package; its wheels are left out here."""
    monkeypatch.setattr("hpoqctl.package._fetch_wheels", lambda *_: [])
    for folder, mask in (("first", 0o022), ("second", 0o077)):
        before = os.umask(mask)
        try:
            options = ["--no-bytecode", "--output", str(tmp_path / folder)]
            assert CliRunner().invoke(app, ["package", *options]).exit_code == 0
        finally:
            os.umask(before)
    (first,), (second,) = (sorted((tmp_path / folder).glob("*.zip")) for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_a_lock_of_another_runtime_is_refused(tmp_path):
    """pip would only say that hashes do not match, because a wheel of another Python has another hash."""
    lock = tmp_path / "x.lock"
    lock.write_text("# hpoq package --runtime python3.10 --arch x86_64\nrequests==2.32.5 --hash=sha256:00\n")
    command = [*HPOQ_COMMAND, "package", "--lock", lock]
    done = run_program(command, cwd=tmp_path)
    assert done.returncode == 2
    assert "--runtime python3.10 --arch x86_64, not with --runtime python3.12" in " ".join(
        done.stderr.split()
    )


def test_it_holds_what_runs_and_nothing_else(built):
    report = built("--runtime", "python3.12")
    (package,), names = report["packages"], paths(report)
    assert {"hpoq/handler.py", "fcruntime/context.py", "requests/__init__.py"} < set(names)
    assert not [name for name in names if VENDORS.match(name) or NOT_DEPLOYED.search(name)]
    licences = [name for name in names if re.search(r"\.dist-info/.*licen", name, re.IGNORECASE)]
    assert len({name.split("/")[0] for name in licences}) >= 8
    assert package["size"] < 6_000_000
    assert package["size"] > sum(row["packed"] for row in package["distributions"])


def test_every_source_has_its_bytecode(built):
    interpreter("3.12")
    report = built("--runtime", "python3.12")
    assert report["bytecode"].startswith("3.12.")
    names = set(paths(report))
    sources = [Path(name) for name in names if name.endswith(".py")]
    made = {str(path.parent / "__pycache__" / f"{path.stem}.cpython-312.pyc") for path in sources}
    assert made == {name for name in names if name.endswith(".pyc")}
    with zipfile.ZipFile(report["packages"][0]["path"]) as archive:
        assert {archive.read(name)[4:8] for name in made} == {UNCHECKED}
        assert b"/code/hpoq/handler.py" in archive.read("hpoq/__pycache__/handler.cpython-312.pyc")


@pytest.mark.parametrize("options", [(), ("--bytecode",)], ids=["by default", "asked for"])
def test_without_the_interpreter_there_is_no_bytecode(tmp_path, monkeypatch, options):
    """It is left out, also of hpoq's own modules, unless it was asked for; then nothing is written."""
    wanted = next(runtime for runtime in ("python3.10", "python3.12") if runtime != PYTHON)
    monkeypatch.setenv("PATH", "/nowhere")
    # The interpreter is the same for the dependencies, and pip would take seconds for them.
    monkeypatch.setattr("hpoqctl.package._fetch_wheels", lambda *_: [])
    done = CliRunner().invoke(app, ["package", "--runtime", wanted, "--output", str(tmp_path), *options])
    if options:
        problem = f"--bytecode needs {wanted}, which is not on the PATH. Install it or give --no-bytecode."
        assert (done.exit_code, " ".join(done.stderr.split())) == (1, problem)
        assert not list(tmp_path.iterdir())
    else:
        assert done.exit_code == 0, done.output
        assert "every cold start compiles what it imports" in " ".join(done.stdout.split())
        with zipfile.ZipFile(next(tmp_path.glob("*.zip"))) as archive:
            assert "hpoq/handler.py" in archive.namelist()
            assert not [name for name in archive.namelist() if name.endswith(".pyc")]


@pytest.mark.parametrize(
    ("options", "machine"), [((), "x86_64"), *in_ci((FOREIGN, "aarch64"), (LAYERED, "x86_64"))]
)
def test_its_binaries_are_of_the_runtime_and_the_architecture(built, options, machine):
    report = built("--runtime", "python3.12", *options)
    binaries = [name for name in paths(report, -1) if name.endswith(".so")]
    assert binaries
    assert all(re.search(rf"\.(cpython-312-{machine}-linux-gnu|abi3)\.so$", name) for name in binaries)
    with zipfile.ZipFile(report["packages"][-1]["path"]) as archive:
        machines = {archive.read(name)[18] for name in binaries}
    assert machines == {{"x86_64": 0x3E, "aarch64": 0xB7}[machine]}


@pytest.mark.in_ci
@pytest.mark.parametrize("options", [FOREIGN, LAYERED])
def test_a_layer_takes_the_dependencies(built, options):
    report = built("--runtime", "python3.12", *options)
    assert {name.split("/")[0] for name in paths(report, 0)} == {"hpoq", "fcruntime"}
    assert {name.split("/")[0] for name in paths(report, 1)} == {"python"}


def test_a_layer_without_bytecode_has_the_files_of_the_wheels(tmp_path, monkeypatch):
    """--no-bytecode leaves bytecode out of the package and of its layer, whose wheels are those for --arch.

    pip would take seconds for real wheels.
    """
    wheel = tmp_path / "idna-3.20-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("idna/core.py", "")
        archive.writestr("idna-3.20.dist-info/METADATA", "Name: idna\nVersion: 3.20\n")
    wanted = []

    def fetch(_folder, platform, *_):
        wanted.append(platform.tags[0])
        return [Wheel.read(wheel)]

    monkeypatch.setattr("hpoqctl.package._fetch_wheels", fetch)
    monkeypatch.setattr("hpoqctl.package.find_interpreter", lambda _: sys.executable)
    options = ["--layer", "--no-bytecode", "--json", "--output", str(tmp_path)]
    done = CliRunner().invoke(app, ["package", "--runtime", "python3.12", "--arch", "arm64", *options])
    assert done.exit_code == 0, done.output
    assert wanted == ["manylinux_2_31_aarch64"]
    own, layer = (paths(json.loads(done.stdout), index) for index in (0, 1))
    assert {name.split("/")[0] for name in own} == {"hpoq", "fcruntime"}
    assert not [name for name in own if name.endswith(".pyc")]
    assert layer == ["python/idna-3.20.dist-info/METADATA", "python/idna/core.py"]


@pytest.mark.in_ci
def test_an_extra_is_taken_along(built):
    names = paths(built("--runtime", "python3.10", *REDIS))
    assert "redis/__init__.py" in names
    assert "redis/__init__.py" not in paths(built("--runtime", "python3.12"))


def test_the_bill_of_materials_is_complete(built):
    report = built("--runtime", "python3.12")
    bill = json.loads(Path(report["sbom"]).read_text())
    listed = {f"{one['name']} {one['version']}": one for one in bill["components"]}
    distributions = {row["distribution"] for row in report["packages"][0]["distributions"]}
    assert set(listed) == {name for name in distributions if not name.startswith("hpoq ")}
    assert all(component["licenses"] for component in listed.values())
    assert bill["metadata"]["component"]["hashes"][0]["content"] == report["packages"][0]["sha256"]
    locked = dict(line.split(" --hash=sha256:") for line in Path(report["lock"]).read_text().splitlines()[1:])
    assert {one["hashes"][0]["content"] for one in listed.values()} == set(locked.values())
    (own,) = [one for one in bill["dependencies"] if one["ref"].startswith("pkg:pypi/hpoq@")]
    assert {ref.split("/")[1].split("@")[0] for ref in own["dependsOn"]} == {
        "pydantic",
        "requests",
        "structlog",
        "urllib3",
    }


def test_missing_wheels_are_reported(tmp_path):
    lock = tmp_path / "wrong.lock"
    lock.write_text("requests==2.31.0 --hash=sha256:" + "0" * 64 + "\n")
    command = [*HPOQ_COMMAND, "package", "--lock", lock, "--output", tmp_path / "dist"]
    done = run_program(command)
    assert done.returncode == 1
    assert "requests" in done.stderr
    assert not list(tmp_path.glob("dist/*.zip"))
