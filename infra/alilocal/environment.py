"""`alilocal env`: the variables with which other programs reach a running local cloud, as lines for a shell.

    eval "$(alilocal env)"

The names are those of the vendor's SDKs and of Serverless Devs with its component fc3. The SDKs read no endpoint from
a variable; `ALILOCAL_URL` and `ALILOCAL_ENDPOINT` have it for the program's own use.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from alilocal.core.credentials import ACCESS_KEY_ID, ACCESS_KEY_SECRET

DEFAULT_PORT = 7600


def print_environment(arguments: Sequence[str]) -> None:
    """Print an `export` line for each variable; exits with 1 if no local cloud answers."""
    parser = argparse.ArgumentParser(
        prog="alilocal env",
        description='Print the variables of a running local cloud for a shell: eval "$(alilocal env)"',
    )
    parser.add_argument("--host", default="127.0.0.1", help="its address (default: loopback)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"its port (default: {DEFAULT_PORT})")
    parser.add_argument(
        "--node",
        action="store_true",
        help="also direct the calls of Node.js programs for Alibaba Cloud's hosts to it",
    )
    options = parser.parse_args(arguments)
    name = options.host.strip("[]")
    host = f"[{name}]" if ":" in name else name
    address = f"{host}:{options.port}"
    try:
        # Not `urllib.request`, which would ask the proxy of the environment.
        with closing(http.client.HTTPConnection(name, options.port, timeout=5)) as connection:
            connection.request("GET", "/_alilocal/health")
            health = json.load(connection.getresponse())
        found = variables(address, str(health["region"]), str(health["accountId"]))
    except (OSError, ValueError, http.client.HTTPException) as exc:
        sys.exit(f"alilocal env: no local cloud answers at {address} ({exc}). Start it with: alilocal")
    except (KeyError, TypeError):
        sys.exit(f"alilocal env: the server at {address} is not a local cloud. Start one with: alilocal")
    if options.node:
        found["NODE_OPTIONS"] = _node_options(os.environ.get("NODE_OPTIONS", ""))
    for name, value in found.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _node_options(present: str) -> str:
    """Return the options of Node.js in `present`, and the one that directs calls to the local cloud.

    Node.js takes a path with spaces only in double quotes, in which it reads a backslash as an escape.
    """
    path = str(Path(__file__).with_name("redirect.cjs")).replace("\\", "\\\\").replace('"', '\\"')
    option = f'--require "{path}"'
    return present if option in present else f"{present} {option}".lstrip()


def variables(address: str, region: str, account_id: str) -> dict[str, str]:
    """Return the variables for a local cloud at `address`, a host with a port."""
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ACCESS_KEY_SECRET,
        "ALIBABA_CLOUD_REGION": region,
        "ALIBABA_CLOUD_REGION_ID": region,
        "ALIBABA_CLOUD_ACCOUNT_ID": account_id,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALILOCAL_URL": f"http://{address}",
        "ALILOCAL_ENDPOINT": address,
        "FC_CLIENT_CUSTOM_ENDPOINT": f"http://{address}",
        "FC_CODE_TEMP_OSS_ENDPOINT": f"http://{address}",
        "AccountID": account_id,
        "AccessKeyID": ACCESS_KEY_ID,
        "AccessKeySecret": ACCESS_KEY_SECRET,
    }
