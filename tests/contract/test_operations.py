"""The README's table of operations: made from the code, and without a gap against what the vendors' SDKs have."""

import importlib
import inspect
import logging
import re
from pathlib import Path

import pytest

import alilocal
from alilocal.operations import markdown, operations

README = Path(alilocal.__file__).with_name("README.md")


@pytest.fixture(scope="module")
def cloud():
    return alilocal.LocalCloud()


def names(cloud, service):
    [found] = [one for one in cloud.services if one.name == service]
    return {operation.name for operation in operations(found)}


def test_the_table_of_the_readme_is_that_of_the_code(cloud):
    """`python -m alilocal.operations` prints what belongs there."""
    text = README.read_text(encoding="utf-8")
    begin, end = "<!-- operations -->\n", "<!-- /operations -->\n"
    assert text.partition(begin)[2].partition(end)[0].strip() == markdown(cloud).strip()


def test_paiautoml(cloud):
    """The local PAI AutoML has every operation of the vendor's SDK."""
    client = importlib.import_module("alibabacloud_paiautoml20220828.client").Client
    calls = [
        name for name, _ in inspect.getmembers(client, inspect.isfunction) if name.endswith("_with_options")
    ]
    camel = {
        "".join(part.capitalize() for part in name.removesuffix("_with_options").split("_")) for name in calls
    }
    assert camel <= names(cloud, "paiautoml")


def test_tablestore(cloud):
    """The local Tablestore has every operation of the vendor's SDK."""
    logging.getLogger("tablestore").setLevel(logging.ERROR)
    text = inspect.getsource(importlib.import_module("tablestore.client"))
    text += inspect.getsource(importlib.import_module("tablestore.encoder"))
    found = set(re.findall(r"_request_helper\(\s*['\"](\w+)", text)) | set(
        re.findall(r"^\s*['\"]([A-Z]\w+)['\"]\s*:\s*self\.", text, re.MULTILINE)
    )
    assert len(found) > 50
    assert found <= names(cloud, "tablestore")


def test_mns_open(cloud):
    """The local management API of SMQ has every operation of the vendor's SDK."""
    text = inspect.getsource(importlib.import_module("alibabacloud_mns_open20220119.client"))
    found = set(re.findall(r"action = '(\w+)'", text))
    assert len(found) > 20
    assert found <= names(cloud, "mnsopen")


@pytest.mark.parametrize("sdk", ["alibabacloud_fc20230330", "alibabacloud_fc_open20210406"])
def test_function_compute(cloud, sdk):
    """The local Function Compute has every operation of the vendor's SDKs for 3.0 and 2.0."""
    text = inspect.getsource(importlib.import_module(f"{sdk}.client"))
    found = set(re.findall(r"action ?= ?'(\w+)'", text))
    assert len(found) > 50
    assert found <= names(cloud, "fc")
