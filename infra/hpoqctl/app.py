"""The group of all commands. It imports a command's module when the command is run."""

from __future__ import annotations

import errno
import importlib
from importlib.metadata import version

import click

# The help texts stand here, so that `hpoq --help` imports no command.
_COMMANDS = {
    "demo": "Show the whole pipeline under faults, with a proof.",
    "init": "Write a request from options or answers.",
    "check": "Validate request messages.",
    "explain": "Explain a rule, with a wrong and a right example.",
    "try": "Run a request's experiment on this machine.",
    "send": "Send request messages to the queue.",
    "stop": "Stop experiments.",
    "trials": "Show the trials of an experiment, the best one first.",
    "status": "Show the queues, or explain the state of a message.",
    "audit": "Compare the account's experiments with the records.",
    "resolve": "Record whether a create whose result is unknown succeeded.",
    "forget": "Remove from a record what its producer wrote.",
    "dead": "List, show, redrive or drop dead-lettered messages.",
    "redrive": "The same as `hpoq dead redrive`.",
    "replay": "Run trigger events through the function, offline.",
    "local": "Start the local cloud with the whole pipeline.",
    "doctor": "Examine the function's environment and list what to fix.",
    "package": "Build the code package for Function Compute.",
    "completion": "Print the completion script of a shell.",
    "contract": "Write the JSON Schemas and the AsyncAPI document.",
}
_MODULES = {"doctor": "hpoqctl.doctor.doctor", "redrive": "hpoqctl.dead", "try": "hpoqctl.tryout"}
# Commands whose function is not named `command` in its module.
_FUNCTIONS = {"redrive": "redrive"}


# What shells report for a program that Ctrl-C ended.
_INTERRUPTED = 130


def _explain_os_error(exc: OSError) -> Exception:
    """Return an error with a message, or `exc` if the reader of a pipe is gone, for which click ends without one."""
    if exc.errno == errno.EPIPE:
        return exc
    from hpoqctl.output import describe_os_error  # needed for failed writes only

    return click.ClickException(describe_os_error(exc))


def _refuse_empty(_context: click.Context, _parameter: click.Parameter, value: object) -> object:
    """Return a text that was given; an empty one would silently mean the default, or the current folder."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("an empty text, perhaps of a variable that is not set")
    return value


def _refuse_empty_texts(command: click.Command) -> None:
    for parameter in command.params:
        if parameter.type is click.STRING and parameter.callback is None:
            parameter.callback = _refuse_empty
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _refuse_empty_texts(inner)


class _LazyGroup(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(_MODULES.get(name, f"hpoqctl.{name}"))
        command: click.Command = getattr(module, _FUNCTIONS.get(name, "command"))
        _refuse_empty_texts(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib  # needed for misspelt commands only

            close = difflib.get_close_matches(args[0].lower(), _COMMANDS, n=1, cutoff=0.6)
            hint = f" Did you mean hpoq {close[0]}?" if close else " See hpoq --help."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except click.Abort as exc:
            # click's questions raise this for Ctrl-C, and also at the end of the input.
            if isinstance(exc.__context__, KeyboardInterrupt):
                raise click.exceptions.Exit(_INTERRUPTED) from None
            raise
        except OSError as exc:
            raise _explain_os_error(exc) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except OSError as exc:  # of `hpoq --help`, which is printed here
            raise _explain_os_error(exc) from None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("hpoq"), prog_name="hpoq")
def app() -> None:
    """Turn queue messages into PAI AutoML experiments, exactly once.

    Every command has --json for machine output. The exit code is 0 on success, 1 if the work failed, 2 on wrong
    usage, and 130 on Ctrl-C.
    """
