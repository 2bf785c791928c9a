"""The standard chain of credentials for producers and the command line."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import alilocal
from hpoq.cloud.signing import Credentials
from hpoq.errors import NoCredentials
from hpoq.producer.credentials import _Chain, standard_credentials

ANSWER = {
    "Code": "Success",
    "AccessKeyId": "STS.id",
    "AccessKeySecret": "secret",
    "SecurityToken": "token",
    "Expiration": "1970-01-01T02:00:00Z",
}
OFF = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}


@pytest.fixture
def stub():
    """A server for ECS metadata and for AssumeRoleWithOIDC: its URL, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked.append((self.command, self.path, body))
            answers = {
                "/latest/api/token": "t",
                "/latest/meta-data/ram/security-credentials/": "role-1",
                "/latest/meta-data/ram/security-credentials/role-1": json.dumps(ANSWER),
            }
            data = answers.get(self.path, json.dumps({"Credentials": ANSWER})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def config(*profiles, current="default"):
    return json.dumps({"current": current, "profiles": profiles})


OWN = {"name": "default", "mode": "AK", "access_key_id": "id", "access_key_secret": "secret"}
TOKEN = {**OWN, "name": "other", "mode": "StsToken", "sts_token": "token"}


def test_the_environment_comes_first(tmp_path):
    """Variables with a key are used before any file."""
    write(tmp_path / ".aliyun" / "config.json", config(OWN))
    environ = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "e", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    assert _Chain(environ, tmp_path)() == Credentials("e", "s")


@pytest.mark.parametrize(
    ("environ", "current", "expected"),
    [
        ({}, "default", Credentials("id", "secret")),
        ({}, "other", Credentials("id", "secret", "token")),
        ({"ALIBABA_CLOUD_PROFILE": "other"}, "default", Credentials("id", "secret", "token")),
    ],
)
def test_a_profile_of_the_vendors_command_line(tmp_path, environ, current, expected):
    """The current profile is used, or the one that the environment names."""
    write(tmp_path / ".aliyun" / "config.json", config(OWN, TOKEN, current=current))
    assert _Chain({**OFF, **environ}, tmp_path)() == expected


def test_a_credentials_file(tmp_path):
    """The section `default` of the credentials file gives an access key."""
    text = "[default]\ntype = sts\naccess_key_id = id\naccess_key_secret = s%\nsecurity_token = t\n"
    write(tmp_path / ".alibabacloud" / "credentials.ini", text)
    assert _Chain(OFF, tmp_path)() == Credentials("id", "s%", "t")


def test_a_profile_with_a_role_is_exchanged_at_sts(tmp_path):
    """A profile of mode RamRoleArn gives the temporary key of its role, and asks again only near its end."""
    with alilocal.serve() as server:
        cloud = server.cloud
        profile = {
            "name": "default",
            "mode": "RamRoleArn",
            "access_key_id": cloud.access_key_id,
            "access_key_secret": cloud.access_key_secret,
            "ram_role_arn": f"acs:ram::{cloud.account_id}:role/producer",
        }
        write(tmp_path / ".aliyun" / "config.json", config(profile))
        now = [cloud.clock.now()]
        chain = _Chain(OFF, tmp_path, sts=server.url, now=lambda: now[0])
        first = chain()
        assert first.access_key_id.startswith("STS.")
        assert first.security_token
        assert chain() == first
        now[0] += 3500
        cloud.clock.advance(3500)
        assert chain() != first
        assert len(cloud.requests.of("AssumeRole")) == 2


def test_a_role_by_oidc(tmp_path, stub):
    """A token in a file is exchanged for the role's temporary key."""
    url, asked = stub
    file = tmp_path / "token"
    write(file, "jwt\n")
    names = {"ROLE_ARN": "acs:ram::1:role/r", "OIDC_PROVIDER_ARN": "p", "OIDC_TOKEN_FILE": str(file)}
    environ = {f"ALIBABA_CLOUD_{name}": value for name, value in names.items()}
    chain = _Chain({**OFF, **environ}, tmp_path, sts=url, now=lambda: 0.0)
    assert chain() == chain() == Credentials("STS.id", "secret", "token")
    ((method, target, body),) = asked
    assert method == "POST"
    assert "Action=AssumeRoleWithOIDC" in target
    assert "OIDCToken=jwt&" in body


def test_the_role_of_an_ecs_instance(tmp_path, stub):
    """Without any other source the metadata of the instance gives the key of its role."""
    chain = _Chain({}, tmp_path, metadata=stub[0], now=lambda: 0.0)
    assert chain() == Credentials("STS.id", "secret", "token")
    assert stub[1][0][1] == "/latest/api/token"


@pytest.mark.parametrize("text", ["{", "[]", '{"profiles": [{}]}', config(current="missing")])
def test_a_broken_profile_is_a_reason(tmp_path, text):
    """A file that cannot be used is named in the error, which gives the reasons of all sources."""
    write(tmp_path / ".aliyun" / "config.json", text)
    with pytest.raises(NoCredentials, match=r"ALIBABA_CLOUD_ACCESS_KEY_.* not set; .*config\.json"):
        _Chain(OFF, tmp_path)()


@pytest.mark.parametrize("folder", [None, "h" * 300], ids=["missing", "unreadable"])
@pytest.mark.parametrize("environ", [{}, {"ALIBABA_CLOUD_CREDENTIALS_FILE": "f" * 300}])
def test_a_folder_that_cannot_be_read_does_not_hide_the_role(tmp_path, stub, folder, environ):
    """A user of a container often has no folder, or may not read the one of HOME; the instance still has a role."""
    home = tmp_path / folder if folder else None
    chain = _Chain(environ, home, metadata=stub[0], now=lambda: 0.0)
    assert chain() == Credentials("STS.id", "secret", "token")


def test_a_user_without_a_folder_has_no_profile(monkeypatch):
    """Without HOME and without an entry of the user, the reasons name the other sources."""
    monkeypatch.setattr(Path, "expanduser", raise_no_home)
    with pytest.raises(NoCredentials, match="variables are not set"):
        standard_credentials(OFF)()


def raise_no_home(_):
    raise RuntimeError("Could not determine home directory.")
