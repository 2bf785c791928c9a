"""`hpoq explain`: why a rule exists, with a wrong and a right example."""

from __future__ import annotations

import click
from rich.text import Text

from hpoq.contract.finding import Hints
from hpoqctl.output import console, json_option, print_json
from hpoqctl.ruletexts import RULES


def _complete_rule(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in RULES if name.startswith(incomplete)]


@click.command(name="explain")
@click.argument("rule", required=False, shell_complete=_complete_rule)
@json_option
def command(rule: str | None, as_json: bool) -> None:
    """Explain a RULE that `hpoq check` names in brackets. Without one, list all rules."""
    # People copy a rule with its brackets.
    rule = rule.strip("[] ").lower() if rule is not None else None
    if rule is not None and rule not in RULES:
        hint = Hints().suggest(rule, RULES) or ". Run hpoq explain for a list."
        raise click.BadParameter(f"there is no rule {rule!r}{hint}", param_hint="RULE")
    chosen = RULES if rule is None else {rule: RULES[rule]}
    if as_json:
        print_json({"rules": [{"rule": name, **text._asdict()} for name, text in chosen.items()]})
        return
    if rule is None:
        width = max(map(len, RULES))
        for name, text in RULES.items():
            console().print(Text.assemble((f"{name:{width}}", "bold"), f"  {text.why}"))
        return
    text = RULES[rule]
    console().print(Text(rule, "bold"))
    console().print(Text(f"  {text.why}"))
    console().print(Text.assemble("  ", ("wrong", "red"), f"  {text.wrong}"))
    console().print(Text.assemble("  ", ("right", "green"), f"  {text.right}"))
