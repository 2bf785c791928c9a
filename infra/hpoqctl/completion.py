"""`hpoq completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hpoqctl.output import json_option, print_json

_SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@json_option
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that completes commands and options in SHELL.

    \b
        bash   hpoq completion bash >> ~/.bashrc
        zsh    hpoq completion zsh >> ~/.zshrc
        fish   hpoq completion fish > ~/.config/fish/completions/hpoq.fish
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.ClickException(f"This version of click cannot complete commands in {shell}.")
    script = completion(ctx.find_root().command, {}, "hpoq", "_HPOQ_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
