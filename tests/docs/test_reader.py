"""The reader who follows a page says what is wrong with it, and leaves nothing that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block
from tests.docs.reader import Item, Reader, is_as_shown
from tests.docs.web_browsers import HttpBrowser

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(not hasattr(os, "killpg"), reason="the terminals are those of POSIX"),
]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, "", dict(os.environ), str, HttpBrowser)
    yield reader
    reader.close()


def typed(code: str, terminal: str = "Terminal 1") -> Block:
    return Block("page.md", 7, "sh", terminal, code, None)


def followed(reader: Reader, parts: list[Block | Item], monkeypatch: pytest.MonkeyPatch) -> None:
    """Follows a page with these parts."""
    monkeypatch.setattr("tests.docs.reader.parts_of", lambda page: parts)
    reader.follow("README.md")


def test_a_command_that_fails(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails is reported with what it printed and with its place, also if the shell ended at once."""
    followed(reader, [typed("true")], monkeypatch)
    shell = reader.terminals["Terminal 1"].process
    assert shell.stdin is not None
    shell.stdin.write(b"echo no such thing; exit 3\n")
    shell.stdin.flush()
    shell.wait(timeout=60)
    with pytest.raises(AssertionError, match="a command failed") as failure:
        followed(reader, [typed("echo more")], monkeypatch)
    assert failure.value.__notes__ == ["README.md:7"]


def test_any_error_has_its_place(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no failed comparison also says which line of the page it is about."""
    with pytest.raises(KeyError) as failure:
        followed(reader, [Block("page.md", 9, "text", "Browser", "Shop", None)], monkeypatch)
    assert failure.value.__notes__ == ["README.md:9"]


def test_what_runs_is_ended(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is ended though something else cannot be."""

    class Stuck(HttpBrowser):
        def close(self) -> None:
            super().close()
            raise OSError("stuck")

    followed(reader, [typed("true"), typed("sleep 600", "Terminal 2")], monkeypatch)
    reader.browsers["first"] = Stuck()
    with pytest.raises(OSError, match="stuck"):
        reader.close()
    assert [terminal.process.poll() for terminal in reader.terminals.values()] == [-9, -9]
    reader.browsers.clear()


def test_half_a_character(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output may end within a character while a program writes."""
    followed(reader, [typed(r"printf 'caf\303'")], monkeypatch)
    assert reader.terminals["Terminal 1"].output().strip() == "caf\N{REPLACEMENT CHARACTER}"


def test_output_as_shown() -> None:
    """White space does not count, and ``…`` is anything or nothing."""
    assert is_as_shown("a  b\n…\nc …", "a b\nmore\nc")
    assert not is_as_shown("a … c", "a c d")
