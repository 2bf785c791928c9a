"""The group of commands; each lives in a module of its own that is imported when it is named."""

from __future__ import annotations

import errno
import importlib
from importlib.metadata import version

import click

_COMMANDS = {
    "replay": "Run trigger events through the function, offline.",
    "check": "Validate request messages.",
    "send": "Enqueue request messages.",
    "doctor": "Examine an environment, and say what to mend.",
    "status": "Explain what became of a message.",
    "redrive": "Move dead letters back to their queue.",
    "package": "Build the code package for FC.",
    "contract": "Write the JSON Schemas and the AsyncAPI document.",
    "local": "Start the local cloud with the whole pipeline.",
}


class _LazyGroup(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"hpoq.cli.{name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                raise
            raise click.ClickException(str(exc)) from exc

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("hpoq"), prog_name="hpoq")
def app() -> None:
    """Queue messages in, PAI AutoML experiments out, exactly once.

    Every command takes --json for machine output, and exits 0 on success, 1 when work failed, 2 on wrong usage.
    """
