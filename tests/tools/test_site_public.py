"""Where the reference shows a public name."""

from __future__ import annotations

import pytest

from tools.site.docstrings import as_markdown
from tools.site.public import MODULES, address_of, names_of


@pytest.mark.parametrize(
    ("name", "near", "address"),
    [
        ("RedisStorage", "", "wixvisitor.storage.redis.RedisStorage"),
        ("BlockingVisitorPool", "", "wixvisitor.blocking.BlockingVisitorPool"),
        ("CatalogReader", "wixvisitor.asgi", "wixvisitor.web.CatalogReader"),
        ("login_router", "", None),
        ("login_router", "wixvisitor.aiohttp._login", "wixvisitor.aiohttp.login_router"),
        ("login_router", "wixvisitor.web", None),
        ("json", "wixvisitor", None),
    ],
)
def test_the_address_of_a_name(name: str, near: str, address: str | None) -> None:
    """Each public name has one address; one that frameworks share, like ``login_router``, has that of the module."""
    assert address_of(name, near) == address


def test_every_public_name_has_an_address() -> None:
    """In the texts of its own module each public name is a link, and a name that is alone in any text."""
    homeless = [(module, name) for module in MODULES for name in names_of(module) if address_of(name, module) is None]
    assert homeless == []


def test_a_link_to_a_neighbour() -> None:
    """A docstring's module decides which of several names it means."""
    assert as_markdown("See ``setup``.", near="wixvisitor.fastapi") == "See [`setup`][wixvisitor.fastapi.setup]."
    assert as_markdown("See ``setup``.") == "See ``setup``."
