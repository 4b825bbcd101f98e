"""docs/how-to/from-wix-sdk.md has every name of the real @wix/sdk, and no other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from .real_sdk import HERE, PATIENCE

pytestmark = pytest.mark.interop

PAGE = Path(__file__).parents[2] / "docs/how-to/from-wix-sdk.md"
TYPES = HERE / "node_modules/@wix/sdk/build"


def on_the_page(heading: str) -> set[str]:
    """The names in the first columns of the tables under a heading."""
    section = re.split(rf"^{heading}\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    section = re.split(rf"^#{{1,{heading.count('#')}}} ", section, flags=re.MULTILINE)[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)} - {"@wix/sdk"}


def options(declaration: str, of: str) -> set[str]:
    """The options that a TypeScript declaration lists for a function."""
    text = (TYPES / declaration).read_text(encoding="utf-8").partition(f"declare function {of}")[2]
    text = text.partition("config: {")[2].partition("): ")[0]
    return set(re.findall(r"^ +(\w+)\??:", text, flags=re.MULTILINE))


def test_every_name() -> None:
    """The tables have all exports, all methods of a client and of its auth, and the helpers for media."""
    command = ["node", HERE / "names.mjs"]
    listed = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=True).stdout
    assert on_the_page("## Every name") - on_the_page("### Options") == set(json.loads(listed))


def test_every_option() -> None:
    """The table of options has those of ``createClient`` and of ``OAuthStrategy``."""
    found = options("wixClient.d.ts", "createClient") | options("auth/oauth2/OAuthStrategy.d.ts", "OAuthStrategy")
    assert "tokenStorage" in found
    assert on_the_page("### Options") == found
