"""A stateful stand-in for Wix, so that an application's tests run offline.

`FakeWix` hands out tokens, keeps one cart per visitor, and misbehaves on request. It knows nothing of wixvisitor's own
client: whatever speaks HTTP can be tested with it.
"""

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

__all__ = ["Call", "FakeWix", "Fault", "Gate", "Product", "Visitor"]
