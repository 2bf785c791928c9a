"""Which wheels a code package takes."""

import zipfile
from email.message import Message
from pathlib import Path

import pytest

from hpoqctl.packaging.contents import File, list_wheel_files, write_archive
from hpoqctl.packaging.wheels import Wheel, drop_unused


def wheel(name: str, version: str) -> Wheel:
    return Wheel(Path(f"{name}.whl"), name, version, "0" * 64, Message())


@pytest.mark.parametrize(
    ("requests", "kept"), [("2.31.0", True), ("2.32.0", False), ("2.34.2", False), ("10.0", False)]
)
def test_the_guesser_of_encodings_is_kept_for_a_requests_that_needs_it(requests, kept):
    """requests can be imported without charset-normalizer from version 2.32 on."""
    wheels = [wheel("requests", requests), wheel("charset_normalizer", "3.5.3"), wheel("idna", "3.20")]
    names = [one.name for one in drop_unused(wheels)]
    assert names == ["requests", *(["charset_normalizer"] if kept else []), "idna"]


def test_without_requests_nothing_is_dropped():
    """Without requests among the wheels, another package may need charset-normalizer."""
    wheels = [wheel("charset_normalizer", "3.5.3")]
    assert drop_unused(wheels) == wheels


@pytest.mark.parametrize("name", ["LICENSE", "LICENSE.md", "licenses/LICENSE.md", "licenses/a/COPYING.txt"])
def test_a_licence_is_kept_whatever_its_form(tmp_path, name):
    """A licence obliges whoever passes the code on to pass it on too; idna's is a Markdown file."""
    path = tmp_path / "idna.whl"
    files = [f"idna-3.20.dist-info/{name}", "idna/core.py"]
    with zipfile.ZipFile(path, "w") as archive:
        for one in (*files, "idna/README.md", "idna-3.20.dist-info/RECORD"):
            archive.writestr(one, "")
    found = list_wheel_files(Wheel(path, "idna", "3.20", "0" * 64, Message()))
    assert [file.path for file in found] == files


def test_an_interrupted_build_leaves_the_package_before_it(tmp_path):
    """A zip with some of the files can be opened, so nothing would keep it from being deployed."""
    target = tmp_path / "p.zip"
    write_archive(target, [File("hpoq/handler.py", b"first", "hpoq 1")])
    before = target.read_bytes()

    class Interrupting(bytes):
        def __len__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(target, [File("a.py", b"second", "a 1"), File("b.py", Interrupting(b"x"), "b 1")])
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
