"""The built reference has a place for every public name. ``nox -s docs`` builds it first."""

from __future__ import annotations

import html
import re
import zlib
from pathlib import Path

import pytest

from tests.browser.conftest import lacking
from tests.docs.blocks import TOP
from tests.docs.public import MODULES, SERVICES, public

SITE = TOP / "site"
# pytest calls the tests of StorageContract and its fixtures; the reference shows what an author of a store overrides.
OF_PYTEST = re.compile(r"\.StorageContract\.(test_\w+|storage|conditional|leasing|listing|again|expiring|pytestmark)$")
pytestmark = pytest.mark.site


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    if not (SITE / "objects.inv").exists():
        lacking("the site is not built: python -m tools.site")


def places() -> dict[str, str]:
    """Returns the address of each name of the inventory: four lines of text, then zlib (Sphinx's format, version 2)."""
    data = (SITE / "objects.inv").read_bytes()
    start = 0
    for _ in range(4):
        start = data.index(b"\n", start) + 1
    lines = zlib.decompress(data[start:]).decode().splitlines()
    found = (line.split(" ", 4) for line in lines)
    return {name: place.replace("$", name) for name, _, _, place, _ in found}


@pytest.mark.parametrize("module", [*MODULES, *SERVICES])
def test_every_public_name_has_a_place(module: str) -> None:
    """Each name of ``__all__``, and each public method and attribute of a class, has an address in the reference."""
    known = places()
    shown = [one for one in public((module,)) if not OF_PYTEST.search(one.path)]
    # A class that several modules export is shown once: its members have the address that they have there.
    found = {one.path: known.get(one.path) or known.get(one.found.path) for one in shown}
    missing = [name for name, place in found.items() if place is None]
    assert found
    assert not missing, "\n".join(missing)
    assert all((place or "").startswith("reference/") and "#" in (place or "") for place in found.values())


def test_the_addresses_exist() -> None:
    """Each address of the inventory is an anchor of a page."""
    anchors: dict[str, set[str]] = {}
    for place in places().values():
        page, _, anchor = place.partition("#")
        if page not in anchors:
            anchors[page] = set(re.findall(r'\bid="([^"]+)"', (SITE / page).read_text(encoding="utf-8")))
        assert html.escape(anchor) in anchors[page], place


@pytest.mark.parametrize("page", sorted((SITE / "reference").rglob("*.html")), ids=lambda path: path.stem)
def test_no_private_path_is_shown(page: Path) -> None:
    """No page of the reference shows the path of a private module, as a text or when the mouse is over it."""
    text = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", "", page.read_text(encoding="utf-8"))
    shown = re.sub(r"<[^>]*>", "", text) + " ".join(re.findall(r'\btitle="([^"]*)"', text))
    assert re.findall(r"wixvisitor(?:\.\w+)*\._\w+(?:\.\w+)*", shown) == []


def test_private_classes_are_not_shown() -> None:
    """No signature names a private type: the reference says what it stands for."""
    private = []
    for one in public(MODULES):
        function = one.found.all_members.get("__init__") if one.found.is_class else one.found
        function = getattr(function, "final_target", function)
        if function is None or not function.is_function:
            continue
        annotations = [function.returns, *(parameter.annotation for parameter in function.parameters)]
        private += [f"{one}: {text}" for text in map(str, annotations) if re.search(r"\b_[A-Z]\w+", text)]
    assert private == []
