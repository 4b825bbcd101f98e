"""docs/how-to/without-async.md: its pages and handlers serve."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.docs.pages import ran
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.testing import FakeWix


def test_its_functions_serve(wix: FakeWix) -> None:
    """Flask's route and Lambda's handler read products; a Streamlit page that runs again is the same visitor."""
    shown, pools = list[Any](), dict[str, Any]()
    streamlit = SimpleNamespace(
        cache_resource=lambda make: lambda: pools["pool"] if pools else pools.setdefault("pool", make()),
        session_state={},
        write=shown.append,
    )
    names = ran("docs/how-to/without-async.md")
    assert len(names["flask_app"].test_client().get("/products").get_json()["products"]) >= 1
    assert names["handler"]({}, None)["statusCode"] == 200
    before = len(wix.visitors)
    for _ in range(2):
        names["streamlit_page"](streamlit)
    assert len(wix.visitors) == before + 1
    assert len(shown) == 2
    for name in ("catalogue", "site"):
        session: BlockingVisitorSession = names[name]
        session.close()
    pools["pool"].close()
