"""release.py destroys nothing by accident, and finds before a deployment what would make it fail.

The CLI `s` and `hpoq` are stand-ins that note their calls; test_deployment_release.py runs the CLI itself.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from deploymentfiles import ACCOUNT, INSTANCE, LOG_TEMPLATE, lay_out

from support.budget import CI_BUDGET
from support.processes import run_program

# Scripts of a shell, because one of Python takes ten times as long to start, and a deployment has nine calls.
S = """#!/bin/sh
echo "$*" >> '{log}'
case " $* " in
" config "*) printf 'Credential:\\n  \\033[1mAccountID: \\033[22m     123**********456\\n' ;;
*" alias get "*) echo '{{"versionId": "2", "additionalVersionWeight": {weights}}}' ;;
*" version "*) echo '{{"versionId": "1"}}' ;;
*" invoke "*) printf '%s\\n' '{{"body": "{{\\"summary\\": {{}}}}"}}' ;;
esac
"""
HPOQ = """#!/bin/sh
printf '%s\\n' '{status}'
"""


class Operator:
    """An operator with a copy of the repository's deployment, and stand-ins for the programs."""

    def __init__(self, folder):
        self.folder = lay_out(folder)
        self.bin, self.log = folder / "bin", folder / "calls"
        self.bin.mkdir()
        self.log.touch()
        self.splits({})
        self.holds(0, 0)
        self.environ = {"TABLESTORE_INSTANCE": INSTANCE}

    def install(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def holds(self, waiting, dead, watched=0, **changes):
        """Set the number of messages in the queues; `changes` are members of the queue of requests."""
        numbers = {"HPOQ_WATCH_QUEUE": watched, "HPOQ_QUEUE": waiting, "HPOQ_DEAD_LETTER_QUEUE": dead}
        counts = {"inFlight": 0, "delayed": 0, "counted": True, "error": None}
        # The shell puts the queue's name between the quotes.
        queues = [
            {"name": f"'${variable}'", "waiting": number, **counts} for variable, number in numbers.items()
        ]
        queues[1] |= changes
        self.install("hpoq", HPOQ.format(status=json.dumps({"queues": queues})))

    def splits(self, weights):
        """Make version 2 the live one, and give other versions these shares of the calls."""
        self.install("s", S.format(log=self.log, weights=json.dumps(weights)))

    def release(self, *arguments, typed=""):
        return run_program(
            [sys.executable, self.folder / "release.py", *arguments],
            input=typed,
            env={"PATH": str(self.bin), **self.environ},
        )

    @property
    def removed(self):
        calls = [line.split() for line in self.log.read_text().splitlines()]
        return [words[0] for words in calls if words[1:2] == ["remove"]]

    @property
    def changed(self):
        """Whether any command was called that changes something."""
        return not {"deploy", "publish"}.isdisjoint(self.log.read_text().split())

    @property
    def package(self):
        [found] = (self.folder.parents[1] / "dist").iterdir()
        return found

    def repack(self, keep, **more):
        """Write the package again with the files whose names `keep` accepts, and `more`."""
        with zipfile.ZipFile(self.package) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if keep(name)}
        with zipfile.ZipFile(self.package, "w") as archive:
            for name, data in {**files, **more}.items():
                archive.writestr(name, data)


@pytest.fixture
def operator(tmp_path):
    return Operator(tmp_path)


def test_removing_the_function_needs_no_confirmation(operator):
    """Function and triggers can be deployed again, so they are removed without a question."""
    done = operator.release("remove")
    assert done.returncode == 0, done.stderr
    assert operator.removed == ["function"]


def test_removing_data_lists_it_and_asks_for_the_name(operator):
    """The command lists everything that it deletes, and deletes nothing unless the name is typed."""
    refused = operator.release("remove", "--data", typed="yes\n")
    assert (refused.returncode, operator.removed) == (1, [])
    for shown in (
        "hpo-requests: 0 waiting",
        "hpo-requests-dead: 0 waiting",
        INSTANCE,
        "topic",
        "log project",
    ):
        assert shown in refused.stdout
    name = re.search(r"deployment, (\S+),", refused.stdout)[1]
    assert operator.release("remove", "--data", typed=f"{name}\n").returncode == 0
    assert operator.removed == ["function", "alarms", "base", "log"]
    assert (operator.folder / LOG_TEMPLATE).is_file(), "s.yaml names it, and a fresh checkout has none"


@pytest.mark.one_of("weight", budget=CI_BUDGET)
@pytest.mark.parametrize("weight", ["x", "1", "0", "nan"])
def test_an_invalid_weight_is_named(operator, weight):
    """A share that is not a number between 0 and 1 ends the command, which names it and an example."""
    done = operator.release("canary", weight)
    assert done.returncode == 2
    assert f"{weight} is not a number between 0 and 1, such as 0.1" in str(done.stderr)


def test_nothing_is_removed_without_an_answer(operator):
    """A script without --yes, whose standard input is empty, removes nothing."""
    done = operator.release("remove", "--data")
    assert (done.returncode, operator.removed) == (1, [])
    assert "--yes" in done.stderr


@pytest.mark.one_of("waiting", "dead", "watched", budget=CI_BUDGET)
@pytest.mark.parametrize(("waiting", "dead", "watched"), [(3, 0, 0), (0, 2, 0), (0, 0, 1)])
def test_queues_that_hold_messages_are_kept(operator, waiting, dead, watched):
    """While a message would be lost, --yes is not enough, and --force is needed."""
    operator.holds(waiting, dead, watched)
    done = operator.release("remove", "--data", "--yes")
    assert (done.returncode, operator.removed) == (1, [])
    assert f"{max(waiting, dead, watched)} waiting" in done.stdout
    assert "--force" in done.stderr
    assert operator.release("remove", "--data", "--yes", "--force").returncode == 0
    assert operator.removed == ["function", "alarms", "base", "log"]


def miss_hpoq(operator):
    (operator.bin / "hpoq").unlink()


def fail(operator):
    operator.install("hpoq", "#!/bin/sh\necho no credentials >&2\nexit 1\n")


def deny_one_queue(operator):
    operator.holds(0, 0, error="smq GetQueueAttributes: AccessDenied: forbidden")


def not_count_one_queue(operator):
    operator.holds(0, 0, counted=False)


@pytest.mark.one_of("spoil", budget=CI_BUDGET)
@pytest.mark.parametrize("spoil", [miss_hpoq, fail, deny_one_queue, not_count_one_queue])
def test_queues_that_cannot_be_counted_are_kept(operator, spoil):
    """A queue that cannot be counted is treated as one that holds messages."""
    spoil(operator)
    done = operator.release("remove", "--data", "--yes")
    assert (done.returncode, operator.removed) == (1, [])
    assert "queue hpo-requests: its messages could not be counted" in done.stdout
    assert "not known" in done.stderr


def test_a_missing_queue_counts_as_empty(operator):
    """A removal that was interrupted can be repeated, although queues are already missing."""
    operator.holds(0, 0, error="smq GetQueueAttributes: QueueNotExist: The queue does not exist.")
    done = operator.release("remove", "--data", "--yes")
    assert (done.returncode, operator.removed) == (0, ["function", "alarms", "base", "log"])
    assert "queue hpo-requests: it does not exist" in done.stdout


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize(
    "words", [["deploy"], ["canary", "0.1"], ["remove"], ["check"], ["promote"]], ids=" ".join
)
def test_a_missing_cli_is_reported_with_its_installation(operator, words):
    """The message contains the installation command of README.md."""
    (operator.bin / "s").unlink()
    done = operator.release(*words)
    assert done.returncode == 1
    assert "npm install -g @serverless-devs/s@3.1.10" in done.stderr
    assert "npm install -g @serverless-devs/s@3.1.10" in (operator.folder / "README.md").read_text()


@pytest.mark.parametrize(("weights", "changes"), [({}, False), ({"3": 0.1}, True)])
def test_a_failed_pipeline_drops_its_canary_and_nothing_else(operator, weights, changes):
    """A pipeline that failed before it published a canary must not roll back to the version before the live one."""
    operator.splits(weights)
    done = operator.release("rollback", "--canary")
    assert (done.returncode, operator.changed) == (0, changes)
    calls = operator.log.read_text()
    assert ("--version-id 2" in calls) is changes
    assert "--version-id 1" not in calls


def lack_variable(operator):
    del operator.environ["TABLESTORE_INSTANCE"]


def name_badly(operator):
    operator.environ["TABLESTORE_INSTANCE"] = "1"


def cut_package(operator):
    operator.package.write_bytes(operator.package.read_bytes()[:-100])


def lack_package(operator):
    operator.package.unlink()


def change_source(operator):
    operator.repack(lambda name: name != "hpoq/handler.py", **{"hpoq/handler.py": b"# older"})


def lack_bytecode(operator):
    operator.repack(lambda name: not name.endswith(".pyc"))


def use_another_account(operator):
    operator.environ["HPOQ_ACCOUNT_ID"] = "9999999999999999"


def use_another_region(operator):
    """Forget ALIBABA_CLOUD_REGION in a new shell, so that its default counts."""
    operator.environ["HPOQ_REGION"] = "cn-shanghai"


OTHER_PLACES = [
    (use_another_account, "123**********456, but HPOQ_ACCOUNT_ID is 9999999999999999"),
    (use_another_region, "works in cn-hangzhou, but HPOQ_REGION is cn-shanghai. Set ALIBABA_CLOUD_REGION"),
]


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lack_variable, "TABLESTORE_INSTANCE is not set"),
        (name_badly, "3 to 16 letters"),
        (lack_package, "does not exist. Build it: hpoq package"),
        (cut_package, "is not a complete zip file. Build it: hpoq package"),
        (change_source, "older than functions/hpoq/handler.py"),
        (lack_bytecode, "no bytecode"),
        *OTHER_PLACES,
    ],
)
@pytest.mark.parametrize("words", [["deploy"], ["canary", "0.1"]], ids=" ".join)
def test_a_problem_is_found_before_anything_is_created(operator, words, spoil, problem):
    """A deployment that would fail or start slowly changes nothing, unless --unchecked is given."""
    spoil(operator)
    done = operator.release(*words)
    assert (done.returncode, operator.changed) == (1, False)
    assert problem in done.stderr
    assert operator.release(*words, "--unchecked").returncode == 0
    assert operator.changed


@pytest.mark.one_of("spoil", "problem", budget=CI_BUDGET)
@pytest.mark.parametrize(
    "words",
    [
        ["remove"],
        ["remove", "--data", "--yes", "--force"],
        ["promote"],
        ["rollback"],
        ["rollback", "--to", "1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("spoil", "problem"), OTHER_PLACES)
def test_no_command_changes_another_account_or_region(operator, words, spoil, problem):
    """The messages that `remove --data` counts would be those of one place, and what it deletes another's."""
    operator.splits({"3": 0.1})
    spoil(operator)
    done = operator.release(*words)
    assert (done.returncode, operator.changed, operator.removed) == (1, False, [])
    assert problem in done.stderr


def test_an_interruption_leaves_no_traceback(operator):
    """Ctrl-C ends the command with 130, as it ends the commands of `hpoq`."""
    operator.install("s", "#!/bin/sh\nkill -INT $PPID\n")
    done = operator.release("rollback", "--to", "1")
    assert done.returncode == 130
    assert "Interrupted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("region", ["", "cn-hangzhou"])
def test_a_deployment_without_problems_passes(operator, region):
    """The check alone changes nothing, and the account is compared as far as the CLI shows it."""
    operator.environ |= {"HPOQ_ACCOUNT_ID": ACCOUNT, "HPOQ_REGION": region}
    done = operator.release("check")
    assert (done.returncode, done.stderr, operator.changed) == (0, "", False)
    assert done.stdout == "No problem was found.\n"


def test_a_custom_runtime_needs_no_bytecode(operator):
    """A custom runtime may bring any Python, so the check requires no bytecode."""
    lack_bytecode(operator)
    file = operator.folder / "s.yaml"
    file.write_text(re.sub(r"runtime: python\S+", "runtime: custom.debian11", file.read_text()))
    assert operator.release("check").stderr == ""


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize("words", [["check"], ["deploy"]], ids=" ".join)
@pytest.mark.parametrize("has_cli", [True, False])
def test_all_problems_are_shown_at_once(operator, words, has_cli):
    """One run reports all problems, including a missing CLI; only `deploy` has --unchecked."""
    for spoil in (lack_variable, lack_bytecode, use_another_account):
        spoil(operator)
    if not has_cli:
        (operator.bin / "s").unlink()
    done = operator.release(*words)
    # Without the CLI its account is not known.
    assert sum(line.startswith("- ") for line in done.stderr.splitlines()) == 3
    assert ("CLI `s` is not on the PATH" in done.stderr) is not has_cli
    assert ("--unchecked" in done.stderr) is (words == ["deploy"])
    assert (done.returncode, operator.changed) == (1, False)


def test_records_are_protected_in_terraform():
    """`terraform destroy` refuses to delete the records and the instance until the protection is taken out."""
    text = (Path(__file__).parents[2] / "infra/serverless/terraform/main.tf").read_text()
    for kind in ("alicloud_ots_instance", "alicloud_ots_table"):
        block = text.partition(f'resource "{kind}" "records" {{')[2].partition("\n}")[0]
        assert "prevent_destroy = true" in block
