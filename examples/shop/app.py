"""The app: where wixvisitor is set up."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from examples.shop import api, pages, trouble
from examples.shop.guard import Guard
from examples.shop.history import History
from examples.shop.views import HERE
from wixvisitor import VisitorPool
from wixvisitor.cookies import VisitorCookie
from wixvisitor.fastapi import setup


def make_app(
    pool: VisitorPool, *, cookie: VisitorCookie, history: History | None = None, kept_in: str = "", close: bool = True
) -> FastAPI:
    """Returns the shop.

    Args:
        pool: makes the visitors; with ``on_change=history.note`` the page can say who renewed their tokens.
        cookie: where they live.
        history: what is known of them besides.
        kept_in: where they live, in words for the page.
        close: whether the pool is closed at shutdown.
    """
    app = FastAPI(title="Tide & Clay", docs_url=None, redoc_url=None, openapi_url=None)
    setup(app, pool, cookie=cookie, close=close)
    app.state.history = history or History()
    app.state.kept_in = kept_in
    app.add_middleware(Guard)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(pages.router)
    app.include_router(api.router)
    trouble.install(app)
    return app
