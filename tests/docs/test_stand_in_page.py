"""docs/how-to/stand-in.md: its commands work, against a stand-in that is served."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import anyio.from_thread
import pytest

from tests.docs.blocks import blocks_of
from tests.docs.test_generated import TOP, rows
from wixvisitor.cli._arguments import parse
from wixvisitor.cli._fake_arguments import FakeArguments
from wixvisitor.testing import FakeWix

NAME = "docs/how-to/stand-in.md"
PAGE = (TOP / NAME).read_text("utf-8")
ADDRESS = "http://127.0.0.1:8900"


@pytest.mark.parametrize("row", rows(PAGE, "Useful options"), ids=lambda row: row[0])
def test_the_options(row: list[str]) -> None:
    """The command takes each option that the page recommends."""
    for option in re.findall(r"`(.+?)`", row[1]):
        command = option.replace(" ID", " 5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e")
        assert isinstance(parse(["fake", *shlex.split(command)]), FakeArguments)


def test_the_commands_of_curl() -> None:
    """Each line with curl is answered with success: a visitor is there, faults come and go, and four hours pass."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    fake, lines = FakeWix(clock=lambda: 1_800_000_000.0), []
    for block in blocks_of(NAME):
        lines += [line for line in block.code.splitlines() if block.language == "sh" and line.startswith("curl ")]
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(fake.serve(page=True)) as url:
            for line in lines:
                command = shlex.split(line.replace(ADDRESS, url))
                answer = subprocess.run([*command, "--fail", "--silent"], capture_output=True, timeout=20, check=True)
                assert "_fake" in line or json.loads(answer.stdout)["expires_in"] == 14_400
    assert len(lines) == 6
    assert len(fake.visitors) == 1
    assert fake.now() == 1_800_000_000.0 + 14_400
