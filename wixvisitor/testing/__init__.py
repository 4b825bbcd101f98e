"""A stateful fake of Wix, so that an application's tests run offline.

``FakeWix`` issues tokens, keeps one cart per visitor, lets members log in and pay, and fails on request. It does not
depend on wixvisitor's own client, so any HTTP client can be tested with it. ``StorageContract`` tests a storage
adapter; only this class needs pytest. ``plugin`` is the pytest plugin with fixtures. ``assert_visitor_cookie`` checks a
web app's response.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._calls import Call
    from ._catalog import Product
    from ._contract import StorageContract
    from ._cookie_check import assert_no_visitor_cookie, assert_visitor_cookie
    from ._fake import FakeWix
    from ._faults import Fault
    from ._gate import Gate
    from ._hosted import Order
    from ._member import Mail, Member
    from ._visitors import Visitor

__all__ = [
    "Call",
    "FakeWix",
    "Fault",
    "Gate",
    "Mail",
    "Member",
    "Order",
    "Product",
    "StorageContract",
    "Visitor",
    "assert_no_visitor_cookie",
    "assert_visitor_cookie",
]

# Each name is imported at first use: pytest loads the plugin, and so this package, in every run, and needs no name.
_HOMES: Final = {
    "Call": "_calls",
    "FakeWix": "_fake",
    "Fault": "_faults",
    "Gate": "_gate",
    "Mail": "_member",
    "Member": "_member",
    "Order": "_hosted",
    "Product": "_catalog",
    "StorageContract": "_contract",
    "Visitor": "_visitors",
    "assert_no_visitor_cookie": "_cookie_check",
    "assert_visitor_cookie": "_cookie_check",
}
_EXTRA: Final = ("graphql", "starlette", "uvicorn")


def __getattr__(name: str) -> Any:
    """Imports a public name at first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "StorageContract":
        _prepare_pytest()
    try:
        found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ImportError(
            f"wixvisitor.testing needs {error.name}: pip install 'wixvisitor[testing]'", name=error.name
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _prepare_pytest() -> None:
    """Makes pytest rewrite the contract's assert statements, so that a failed one shows its values."""
    try:
        import pytest  # noqa: PLC0415 - FakeWix alone does not need it
    except ModuleNotFoundError as error:
        raise ImportError(f"{__name__}.StorageContract needs pytest: pip install pytest", name=error.name) from error
    if f"{__name__}._contract" not in sys.modules:
        pytest.register_assert_rewrite(f"{__name__}._contract")
