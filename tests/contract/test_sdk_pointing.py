"""The README's table on how to point an SDK to the local cloud: each row for Python, unchanged."""

import re
from pathlib import Path

import fc2
import pytest
from alibabacloud_fc20230330.client import Client
from alibabacloud_fc20230330.models import ListFunctionsRequest
from alibabacloud_tea_openapi.utils_models import Config
from mns.account import Account
from tablestore import OTSClient

import alilocal

README = Path(alilocal.__file__).with_name("README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"(?m)^\| Python \| `([^`]+)` \| `([^`]+)` \|$", README))
CALLS = {
    "alibabacloud-*": lambda client: client.list_functions(ListFunctionsRequest()).body.functions,
    "aliyun-mns-sdk": lambda account: (account.list_queue()[0], account.mns_client.close_connection())[0],
    "tablestore": lambda client: list(client.list_table()),
    "aliyun-fc2": lambda client: client.list_services().data["services"],
}


@pytest.mark.parametrize("package", CALLS)
def test_a_row_of_the_table_reaches_the_local_cloud(package):
    """What the row says makes a client whose call is answered."""
    with alilocal.serve() as server:
        names = {
            "key": server.cloud.access_key_id,
            "secret": server.cloud.access_key_secret,
            "Client": Client,
            "Config": Config,
            "Account": Account,
            "OTSClient": OTSClient,
            "fc2": fc2,
        }
        client = eval(ROWS[package].replace("7600", str(server.port)), names)
        assert CALLS[package](client) in ([], None)
        assert server.cloud.requests[-1].status == 200


def test_every_row_for_python_is_tried():
    """A new row needs a call here."""
    assert set(ROWS) == set(CALLS)
