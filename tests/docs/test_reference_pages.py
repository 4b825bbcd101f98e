"""The pages of the reference that are written by hand say what the code does."""

from __future__ import annotations

import json
import re
from importlib import import_module
from typing import Any

import pytest

from tests.constants import CLIENT_ID
from tests.docs.blocks import TOP, blocks_of
from tests.docs.samples import cookie_samples, wire_samples
from tools.site.public import MODULES, names_of
from wixvisitor import Tokens, errors
from wixvisitor.cookies import IdCookie, SealedCookie, generate_key
from wixvisitor.cookies._content import CookieContent
from wixvisitor.testing import FakeWix

REFERENCE = "docs/reference"
pytestmark = pytest.mark.anyio


def titled(page: str, language: str) -> dict[str, str]:
    return {block.title: block.code for block in blocks_of(page) if block.title and block.language == language}


def matches(shown: Any, real: Any) -> bool:
    """Whether the page's JSON is this one. ``…`` stands for any rest of a text."""
    if isinstance(shown, dict) and isinstance(real, dict):
        return list(shown) == list(real) and all(matches(shown[key], real[key]) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(matches, shown, real))
    if isinstance(shown, str) and isinstance(real, str) and shown.endswith("…"):
        return real.startswith(shown[:-1])
    return bool(shown == real)


async def test_the_wire_page_shows_what_is_sent() -> None:
    """Each request and each answer on the page is one that a session and ``FakeWix`` exchange."""
    shown = {title: json.loads(code) for title, code in titled(f"{REFERENCE}/wire.md", "json").items()}
    real = await wire_samples()
    assert sorted(shown) == sorted(real)
    different = [title for title in shown if not matches(shown[title], real[title])]
    assert different == []


async def test_the_cookies_page_shows_the_headers_of_an_answer() -> None:
    """Name, attributes, ``Vary`` and ``Cache-Control`` of each kind of cookie are those of a real answer."""
    real = await cookie_samples()
    shown = {title: code.splitlines() for title, code in titled(f"{REFERENCE}/cookies.md", "http").items()}
    assert shown == real


def test_the_cookies_page_tells_their_sizes() -> None:
    """An id is about 200 bytes, and a visitor's sealed tokens are 1,500 to 2,000."""
    fake = FakeWix()
    answer = fake.mint_visitor(CLIENT_ID)
    tokens = Tokens.from_dict(
        {
            "accessToken": {"value": answer["access_token"], "expiresAt": 1},
            "refreshToken": {"value": answer["refresh_token"], "role": "visitor"},
        }
    )
    content = CookieContent("a" * 43, tokens)
    sizes = [
        len(kind([generate_key()]).write(content, CLIENT_ID, 0.0).partition(";")[0])
        for kind in (IdCookie, SealedCookie)
    ]
    assert 150 <= sizes[0] <= 250
    assert 1_400 <= sizes[1] <= 2_000


def test_the_tree_of_errors_is_the_code() -> None:
    """The page draws the tree of ``wixvisitor.errors`` and ``MemberRequired``; each public error has a place in it."""
    page = (TOP / REFERENCE / "errors.md").read_text(encoding="utf-8")
    tree = "\n".join(line.strip() for line in (errors.__doc__ or "").splitlines() if re.match(r" +(\W|Wix)", line))
    shown = next(block.code for block in blocks_of(f"{REFERENCE}/errors.md") if block.language == "text")
    of_errors = [line for line in shown.splitlines() if "asgi.MemberRequired" not in line]
    assert of_errors == [line.partition(":")[0] for line in tree.splitlines()]
    assert len(of_errors) == len(shown.splitlines()) - 1
    public = [(name, getattr(import_module(module), name)) for module in MODULES for name in names_of(module)]
    kinds = {name for name, one in public if isinstance(one, type) and issubclass(one, errors.WixVisitorError)}
    assert [name for name in sorted(kinds) if name not in page] == []


@pytest.mark.parametrize("module", MODULES)
def test_the_index_names_every_public_name(module: str) -> None:
    """The index has a row for each module, with all its names, and with the extra that it needs."""
    page = (TOP / REFERENCE / "index.md").read_text(encoding="utf-8")
    section = re.search(rf"^- `from {re.escape(module)} import …`(.*?)(?=^- |^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, module
    named = set(re.findall(r"\[`(\w+)`\]", section[1]))
    assert named == set(names_of(module))
