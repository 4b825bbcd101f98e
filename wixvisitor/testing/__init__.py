"""A stateful stand-in for Wix, so that an application's tests run offline.

`FakeWix` hands out tokens, keeps one cart per visitor, and misbehaves on request. It knows nothing of wixvisitor's own
client: whatever speaks HTTP can be tested with it. `StorageContract` tests a store's adapter; only it needs pytest.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    from ._calls import Call
    from ._catalog import Product
    from ._fake import FakeWix
    from ._faults import Fault
    from ._gate import Gate
    from ._visitors import Visitor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"graphql", "starlette", "uvicorn"}:
        raise
    raise ImportError(
        f"wixvisitor.testing needs {error.name}: pip install 'wixvisitor[testing]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from ._contract import StorageContract

__all__ = ["Call", "FakeWix", "Fault", "Gate", "Product", "StorageContract", "Visitor"]


def __getattr__(name: str) -> Any:
    """Imports `StorageContract`, and pytest with it, when it is asked for."""
    if name != "StorageContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest  # noqa: PLC0415 - whoever uses FakeWix alone need not have it
    except ModuleNotFoundError as error:
        raise ImportError(f"wixvisitor.testing.{name} needs pytest: pip install pytest", name=error.name) from error
    if f"{__name__}._contract" not in sys.modules:
        pytest.register_assert_rewrite(f"{__name__}._contract")  # so that a failed assert shows its values
    from ._contract import StorageContract as Contract  # noqa: PLC0415

    globals()[name] = Contract
    return Contract
