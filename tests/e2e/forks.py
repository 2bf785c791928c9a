"""Runs of `hpoq` in forks of one process that has imported all commands: a new process each, without its start.

    python forks.py FD

Reads a line of JSON from the socket FD for each run: the words, the variables, and the files of the standard streams.
Answers with a line that has the exit code.
"""

import contextlib
import gc
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIABLES = {"PATH": "/usr/bin:/bin", "COLUMNS": "160"}
SECONDS = 120


class Forks:
    """The process that forks, seen from the tests."""

    def __init__(self):
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(SECONDS)
        self._answers = self._socket.makefile()
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, env=VARIABLES, pass_fds=[theirs.fileno()])
        theirs.close()

    def run(self, words, stdin, environ):
        """Return what `subprocess.run` would return for `hpoq` with `words`."""
        with contextlib.ExitStack() as files:
            streams = [files.enter_context(tempfile.NamedTemporaryFile()) for _ in range(3)]
            streams[0].write(stdin)
            streams[0].flush()
            command = {"words": words, "environ": environ, "streams": [stream.name for stream in streams]}
            self._socket.sendall(json.dumps(command).encode() + b"\n")
            code = json.loads(self._answers.readline())
            return subprocess.CompletedProcess(words, code, streams[1].read(), streams[2].read())

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._socket.close()


def import_commands():
    """Import every command, and what most of them import late."""
    import click
    from rich.emoji import Emoji

    from hpoqctl.app import app

    Emoji.replace(":x:")  # imports their names

    context = click.Context(app)
    for name in app.list_commands(context):
        app.get_command(context, name)


def warm_up():
    """Process a message in this process, because Python compiles patterns and more on their first use."""
    import alilocal
    from fcruntime import Fc3Context
    from hpoq.function import Function
    from hpoq.testing import smq_event
    from hpoqctl.pipeline import create_pipeline, make_environment

    event = smq_event("M1", ROOT.joinpath("events/requests/minimal.json").read_text())
    # The log of the function.
    with contextlib.redirect_stdout(io.StringIO()), alilocal.LocalCloud() as cloud:
        create_pipeline(cloud)
        settings = make_environment(cloud, cloud.endpoint, "sqlite:///:memory:")
        function = Function(settings, session=cloud.session())
        function.handle(event, Fc3Context("r-1"))
        function.close()


def run(command):
    """Run `hpoq` in this process, whose standard streams become the files of `command`; return the exit code."""
    for number, (name, flags) in enumerate(
        zip(command["streams"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        os.dup2(os.open(name, flags), number)
    os.environ.update(command["environ"])
    sys.argv = ["-c", *command["words"]]
    from hpoqctl import main

    try:
        main()
    except SystemExit as exc:
        if isinstance(exc.code, str):
            sys.stderr.write(f"{exc.code}\n")
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def serve(connection):
    """Fork for each command that arrives."""
    import_commands()
    warm_up()
    # A collection would touch, and so copy, the memory that a fork shares with this process.
    gc.freeze()
    for line in connection.makefile():
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run(json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
