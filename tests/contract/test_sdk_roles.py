"""Service-linked roles, and the way of Node.js programs to the local cloud."""

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions

import alilocal
from alilocal import environment
from support.deployment import vendor_config
from support.processes import run_program
from support.tools import need_node

REDIRECT = Path(alilocal.__file__).with_name("redirect.cjs")
SERVICE = "sendevent-fc.eventbridge.aliyuncs.com"
PROGRAM = """
const https = require('https');
const { request } = require('http');

function show(answer) {
  answer.setEncoding('utf8');
  answer.on('data', (text) => console.log(answer.statusCode, text));
}

https.get('https://resourcemanager.aliyuncs.com/_nobody', show);
https.request({ hostname: 'fcv3.cn-local.aliyuncs.com', path: '/2023-03-30/functions', method: 'GET' }, show).end();
https.request(new URL('https://ecs.aliyuncs.com/_nobody?a=b'), { method: 'POST' }, show).end('body');
request(process.env.OTHER, show).end();
"""


def call(server, action, key=None, algorithm=None, **query):
    client = Client(Config(**vendor_config(server, key), signature_algorithm=algorithm))
    params = Params(
        action=action,
        version="2020-03-31",
        protocol="HTTP",
        method="POST",
        auth_type="AK",
        style="RPC",
        pathname="/",
        req_body_type="formData",
        body_type="json",
    )
    return client.call_api(params, OpenApiRequest(query=query), RuntimeOptions())["body"]


def refused(code, act):
    with pytest.raises(AlibabaCloudException) as caught:
        act()
    assert caught.value.code == code


def test_a_service_gets_its_role_once(server):
    """A new account has no role; a tool asks, creates it, and finds it from then on."""
    assert call(server, "CheckServiceLinkedRoleExistence", ServiceName=SERVICE)["Exists"] is False
    role = call(server, "CreateServiceLinkedRole", ServiceName=SERVICE)["Role"]
    assert role["IsServiceLinkedRole"]
    assert call(server, "CheckServiceLinkedRoleExistence", ServiceName=SERVICE)["Exists"] is True
    refused("EntityAlreadyExists.Role", lambda: call(server, "CreateServiceLinkedRole", ServiceName=SERVICE))
    refused("MissingParameter.ServiceName", lambda: call(server, "CheckServiceLinkedRoleExistence"))
    document = json.loads(json.dumps(server.cloud.snapshot()))
    server.cloud.reset()
    assert server.cloud.services.resourcemanager.roles.by_service == {}
    server.cloud.load(document)
    assert list(server.cloud.services.resourcemanager.roles.by_service) == [SERVICE]


@pytest.mark.skipif("sm3" not in hashlib.algorithms_available, reason="this build of OpenSSL has no SM3")
def test_a_call_may_be_signed_with_sm3(server):
    """It is the other algorithm of the SDKs that needs no key pair."""
    given = {"algorithm": "ACS3-HMAC-SM3", "ServiceName": SERVICE}
    assert call(server, "CheckServiceLinkedRoleExistence", **given)["Exists"] is False
    wrong = (server.cloud.access_key_id, "wrong")
    refused("SignatureDoesNotMatch", lambda: call(server, "CheckServiceLinkedRoleExistence", wrong, **given))


def test_the_deployers_policy_is_enough(server):
    """deployer.json allows what Serverless Devs asks for before each command."""
    file = Path(__file__).parents[2] / "infra/serverless/policies/deployer.json"
    policy = json.loads(file.read_text())
    server.cloud.credentials.register("deployer", "secret", user_id="7", policy=policy)
    key = ("deployer", "secret")
    assert call(server, "CheckServiceLinkedRoleExistence", key, ServiceName=SERVICE)["Exists"] is False
    call(server, "CreateServiceLinkedRole", key, ServiceName=SERVICE)


def run_redirected(program, server, folder):
    """Run a program of Node.js whose calls go to `server`; `OTHER` is the address of a host that is left alone."""
    need_node()
    (folder / "program.cjs").write_text(program)
    with alilocal.serve() as other:
        environ = {
            "PATH": os.environ["PATH"],
            "NODE_OPTIONS": f"--require {REDIRECT}",
            "ALILOCAL_URL": server.url,
            "OTHER": f"{other.url}/_nobody",
        }
        return run_program([shutil.which("node"), folder / "program.cjs"], env=environ)


def test_node_programs_are_redirected(server, tmp_path):
    """Every form of `request` and `get` for a host of the cloud ends at the local cloud; other hosts do not."""
    done = run_redirected(PROGRAM, server, tmp_path)
    assert done.stderr == ""
    assert [line[:1] for line in done.stdout.splitlines() if line[:3].isdigit()] == ["4"] * 4
    [fc] = [one for one in server.cloud.requests if one.service == "fc"]
    assert (fc.operation, fc.code) == ("ListFunctions", "IncompleteSignature")


FETCH = """
const http2 = require('http2');
const net = require('net');
const tls = require('tls');

const url = 'https://resourcemanager.aliyuncs.com/?Action=_nobody&Version=2020-03-31';

async function show(name, act) {
  try {
    console.log(name, await act());
  } catch (error) {
    console.log(name, typeof error.code === 'string' ? error.code : error.name);
  }
}

function fails(client) {
  return new Promise((resolve, reject) => {
    client.on('error', reject);
    client.on('connect', () => resolve('connected'));
  });
}

async function read(answer) {
  return `${answer.status} ${(await answer.json()).HostId} ${answer.headers.get('content-type')}`;
}

(async () => {
  await show('get', async () => read(await fetch(url)));
  await show('post', async () => read(await fetch(new Request(url, { method: 'POST', body: 'a=b' }))));
  await show('url', async () => read(await fetch(new URL(url), { headers: [['a', 'b']] })));
  await show('aborted', async () => fetch(url, { signal: AbortSignal.abort() }));
  await show('other', async () => (await fetch(process.env.OTHER)).status);
  await show('http2', () => fails(http2.connect('https://ecs.aliyuncs.com')));
  await show('net', () => fails(net.connect(80, 'ecs.aliyuncs.com')));
  await show('tls', () => fails(tls.connect({ host: 'ecs.aliyuncs.com', port: 443 })));
})();
"""


def test_fetch_is_redirected_and_other_clients_of_node_are_refused(server, tmp_path):
    """The host stays the real one, because signatures cover it; no client looks the real host up."""
    done = run_redirected(FETCH, server, tmp_path)
    assert done.stderr == ""
    answered = "404 resourcemanager.aliyuncs.com application/json;charset=utf-8"
    assert done.stdout.splitlines() == [
        f"get {answered}",
        f"post {answered}",
        f"url {answered}",
        "aborted AbortError",
        "other 404",
        "http2 ECONNREFUSED",
        "net ECONNREFUSED",
        "tls ECONNREFUSED",
    ]


def test_env_sets_the_redirection(server):
    """`alilocal env --node` names the file that redirects."""
    command = [sys.executable, "-m", "alilocal", "env", "--node", "--port", str(server.port)]
    shown = run_program(command, check=True).stdout
    assert f"""export NODE_OPTIONS='--require "{REDIRECT}"'\n""" in shown


def test_env_keeps_the_options_of_node_and_takes_a_folder_with_spaces(server, tmp_path, monkeypatch, capsys):
    """The user's own options stay, a second call adds nothing, and Node.js finds the file."""
    folder = tmp_path / 'a "b" c'
    folder.mkdir()
    shutil.copy(REDIRECT, folder)
    monkeypatch.setattr(environment, "__file__", str(folder / "environment.py"))
    monkeypatch.setenv("NODE_OPTIONS", "--no-warnings")
    for _ in range(2):
        environment.print_environment(["--node", "--port", str(server.port)])
        [line] = re.findall(r"(?m)^export NODE_OPTIONS=(.*)$", capsys.readouterr().out)
        [options] = shlex.split(line)
        assert options.startswith("--no-warnings --require ")
        assert options.count("--require") == 1
        monkeypatch.setenv("NODE_OPTIONS", options)
    need_node()
    shown = run_program([shutil.which("node"), "-p", "1"], env={**os.environ, "ALILOCAL_URL": server.url})
    assert (shown.stdout, shown.stderr) == ("1\n", "")
