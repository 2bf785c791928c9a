"""`hpoq explain` knows every rule."""

import re
from pathlib import Path

from click.testing import CliRunner

from hpoqctl.explain import command
from hpoqctl.ruletexts import RULES

ROOT = Path(__file__).parents[3]
OF_CALL = {"idempotency-key.twice"}
OF_YAML = {"yaml.syntax", "yaml.tag", "yaml.key", "yaml.notation"}


def test_every_rule_is_explained():
    """There is a text for each rule of the contract, of a call and of YAML, with a wrong and a right example."""
    listed = (ROOT / "functions" / "hpoq" / "contract" / "README.md").read_text()
    assert set(RULES) == set(re.findall(r"^\| `([a-z0-9.-]+)` \|", listed, re.MULTILINE)) | OF_CALL | OF_YAML
    for name, text in RULES.items():
        assert text.why.endswith("."), name
        assert text.wrong != text.right, name


def test_one_rule():
    """A rule is shown with its reason and both examples."""
    done = CliRunner().invoke(command, ["placeholder.form"])
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "placeholder.form"
    assert [line.split()[0] for line in done.output.splitlines()[2:]] == ["wrong", "right"]


def test_a_rule_that_does_not_exist():
    """An unknown rule is wrong usage, with the one that is probably meant."""
    done = CliRunner().invoke(command, ["placeholder.from"])
    assert done.exit_code == 2
    assert "there is no rule 'placeholder.from'; did you mean placeholder.form?" in done.output


def test_a_rule_may_be_copied_with_its_brackets():
    """`hpoq check` prints rules in brackets, and a capital letter is not another rule."""
    shown = CliRunner().invoke(command, ["placeholder.form"]).output
    assert CliRunner().invoke(command, ["[placeholder.form]"]).output == shown
    assert CliRunner().invoke(command, ["Placeholder.Form"]).output == shown
