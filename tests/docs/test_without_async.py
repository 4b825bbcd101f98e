"""docs/how-to/without-async.md: its pages and handlers serve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import respx
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.docs.blocks import TOP
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.testing import FakeWix


def test_its_functions_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask's route and Lambda's handler read products; a Streamlit page that runs again is the same visitor."""
    monkeypatch.chdir(tmp_path)
    fake, shown, pools = FakeWix(), list[Any](), dict[str, Any]()
    streamlit = SimpleNamespace(
        cache_resource=lambda make: lambda: pools["pool"] if pools else pools.setdefault("pool", make()),
        session_state={},
        write=shown.append,
    )
    with respx.mock(assert_all_called=False) as router:
        router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
        document = Document.parse(str(TOP / "docs/how-to/without-async.md"), PythonCodeBlockParser())
        document.namespace["__name__"] = "__main__"
        for example in document:
            example.evaluate()
        names = document.namespace
        assert len(names["flask_app"].test_client().get("/products").get_json()["products"]) >= 1
        assert names["handler"]({}, None)["statusCode"] == 200
        before = len(fake.visitors)
        for _ in range(2):
            names["streamlit_page"](streamlit)
        assert len(fake.visitors) == before + 1
        assert len(shown) == 2
        for name in ("catalogue", "site"):
            session: BlockingVisitorSession = names[name]
            session.close()
        pools["pool"].close()
