"""The local cloud as users know it: the services of `Cloud`, and on top functions, control API and console."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from alilocal.cloud import Cloud
from alilocal.core import foreign
from alilocal.core.clock import TimeSource
from alilocal.core.credentials import REGION
from alilocal.core.http import Request, Response, is_container_host, is_own_host
from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.functionhost import FunctionHost
from alilocal.paiautoml.wire import mask_text

if TYPE_CHECKING:
    from alilocal.control.entry import Control
    from alilocal.fc.function import Functions
    from alilocal.fc.host import Host
    from alilocal.trials.engine import Engine, TrialOptions


class LocalCloud(Cloud):
    """A cloud in this process.

    `session()` and `adapter()` reach it without a port, and `alilocal.serve` puts it on one. Every request is
    verified against the cloud's credentials: `access_key_id` and `access_key_secret`, with or without
    `security_token`, and those that were registered in `credentials`.

    `clock` is any object with a method `now()` that returns seconds since the epoch. Give a test's own clock both to
    the cloud and to its clients, so that they share one time, and move that clock instead of the cloud's. If it has
    a method `advance(seconds)`, long polls advance it instead of waiting in real time. `seed` makes ids and random
    choices repeatable.

    With `run_trials`, the trials of experiments on the platforms LOCAL and DLC run as processes on this machine:
    every request can then start any command. Without it, which is the default, all trials are simulated.
    """

    def __init__(
        self,
        *,
        clock: TimeSource | None = None,
        seed: int | None = None,
        region: str = REGION,
        run_trials: bool | TrialOptions = False,
    ) -> None:
        self._trial_options = run_trials
        self._engine: Engine | None = None
        super().__init__(clock=clock, seed=seed, region=region)
        self._prepare_trials()

    @property
    def runs_trials(self) -> bool:
        """Whether requests can start processes on this machine."""
        return self._engine is not None

    # Functions and console are loaded at their first use: many tests need neither, and both cost an import.

    @cached_property
    def functions(self) -> Functions:
        """The functions. Their instances are processes.

        Those that were made here survive `reset` and are in no snapshot. Those of the service Function Compute are
        among them under their names, their versions as `<name>:<version>`.
        """
        from alilocal.fc.function import Functions

        return Functions(self)

    @cached_property
    def _host(self) -> Host:
        from alilocal.fc.host import Host

        return Host(self, self.functions)

    @cached_property
    def _control(self) -> Control:
        from alilocal.control.entry import Control

        return Control(self)

    def _build(self) -> None:
        super()._build()
        if self._trial_options is not False:
            from alilocal.trials.engine import Engine, TrialOptions

            options = TrialOptions() if self._trial_options is True else self._trial_options
            self._engine = Engine(options, self.changed, self.clock, mask_text)
            self.services.paiautoml.experiments.engine = self._engine

    def reset(self) -> None:
        """Delete everything: resources, faults, switches, registered keys, the log, and the trials that run."""
        if self._engine is not None:
            self._engine.close()
            self._engine.forget()
        super().reset()
        self._prepare_trials()

    def load(self, document: JsonObject) -> None:
        """Replace all state by that of a snapshot; raises BadSnapshot, and then nothing has changed.

        Trials that ran when the snapshot was made are marked, and their hyperparameters are run again.
        """
        before = self._engine
        super().load(document)
        if before is not None and self._engine is not None:
            before.close()
            self._prepare_trials()
            self._engine.resume(self.experiments)

    def _prepare_trials(self) -> None:
        if self._engine is not None:
            self._engine.prepare()

    def close(self) -> None:
        """Stop event streams and functions, and kill all trials; idempotent."""
        if self._engine is not None:
            self._engine.close()
        super().close()

    def call_function(self, name: str, event: bytes) -> bool:
        """Call a function asynchronously, and return False if there is none of that name."""
        if not self._has_functions or name not in self.functions:
            return False
        self.functions[name].trigger_async(event)
        return True

    def function_host(self) -> FunctionHost:
        """Return what runs the functions of Function Compute."""
        return self._host

    def kill_instance(self, instance_id: str) -> None:
        """Kill the instance of a function with that id, if there is one."""
        for function in self.functions if self._has_functions else ():
            function.kill(instance_id)

    def recycle_functions(self) -> None:
        """End what the cloud is about to forget: idle instances, triggers, functions of the service."""
        if self._has_host:
            self._host.clear()
        if self._has_functions:
            self.functions.recycle()

    def resume_functions(self) -> None:
        """Start the triggers of functions again."""
        self.services.fc.resume()

    def close_functions(self) -> None:
        """End all triggers and all instances of functions."""
        if self._has_host:
            self._host.clear()
        if self._has_functions:
            self.functions.close()

    def dispatch(self, request: Request) -> Response:
        """Answer requests for the control API and the console here, and hand all others to their service."""
        if request.path.startswith(("/_alilocal", "/_console")):
            return self._control.handle(request)
        if _is_for_its_root(request) and self._owner(request) is None:
            return _show_ways_in(request)
        return super().dispatch(request)

    @property
    def _has_host(self) -> bool:
        return "_host" in self.__dict__

    @property
    def _has_functions(self) -> bool:
        return "functions" in self.__dict__


def _is_for_its_root(request: Request) -> bool:
    """Return whether a request asks the local cloud itself, and not one of its services, for its root."""
    if request.target != "/" or request.method not in ("GET", "HEAD"):
        return False
    is_signed = bool(request.header("Authorization") or request.headers_from("x-acs-"))
    host = request.header("Host") or ""
    is_own = (is_own_host(host) or is_container_host(host)) and foreign.identify(request, {}) is None
    return is_own and not is_signed


def _show_ways_in(request: Request) -> Response:
    """Return where the console and the control API are: a browser goes to the console."""
    if "text/html" in (request.header("Accept") or ""):
        return Response(302, (("Location", "/_console"),))
    ways = {
        "console": "/_console",
        "health": "/_alilocal/health",
        "operations": "/_alilocal/operations",
        "requests": "/_alilocal/requests",
    }
    return Response(200, (("Content-Type", "application/json"),), f"{json.dumps(ways)}\n".encode())
