"""What the README says is so."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alilocal
from hpoq.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def settings_table():
    """The README's table of settings, as the code has it."""
    lines = ["| variable | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = (
            ""
            if field.default is None
            else f"`{field.default:g}`"
            if isinstance(field.default, float)
            else f"`{field.default}`"
        )
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def test_settings_table():
    """The README lists every setting, with its default and its meaning."""
    listed = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert listed is not None
    assert listed.group(1) == settings_table()


def test_links_lead_somewhere():
    """Every relative link of the README leads to a file or folder of the repository."""
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def hpoq_commands():
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["hpoq"]:
                yield words[1:]


@pytest.mark.parametrize("words", list(hpoq_commands()), ids=" ".join)
def test_commands_exist_as_written(words):
    """Every hpoq command of the README is one that the program has, option for option."""
    options = [word for word in words if word.startswith("-")]
    shown = subprocess.run(
        [sys.executable, "-c", "from hpoq.cli import main; main()", words[0], "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert all(option in shown for option in options)


REQUEST = (ROOT / "events" / "requests" / "minimal.json").read_text()
NODE_MODULES = os.environ.get("TEST_NODE_MODULES")
PRODUCERS = {
    "python": [sys.executable, "-"],
    "bash": ["bash", "-euo", "pipefail", "-s"],
    "js": ["node", "-"],
}


@pytest.mark.parametrize("language", PRODUCERS)
def test_producers_in_every_language(language, tmp_path):
    """Each example, as it stands, puts the request into the queue, signed, and prints its message id."""
    if shutil.which(PRODUCERS[language][0]) is None or (language == "js" and not NODE_MODULES):
        pytest.skip(f"{language} is not here, or not what its example needs")
    (code,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (tmp_path / "request.json").write_text(REQUEST)
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("hpo-requests")
        done = subprocess.run(
            PRODUCERS[language],
            input=code,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "NODE_PATH": NODE_MODULES or "",
                "SMQ_ENDPOINT": server.url,
                "ALIBABA_CLOUD_ACCESS_KEY_ID": server.cloud.access_key_id,
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": server.cloud.access_key_secret,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        (message,) = queue.messages
    assert message.message_id in done.stdout
    sent = json.loads(base64.b64decode(message.body))
    assert sent["experiment"] == json.loads(REQUEST)["experiment"]
