"""The app: where wixvisitor is set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from examples.shop import api, checkout, members, pages, trouble
from examples.shop.carts import Carts
from examples.shop.guard import Guard, headers_for
from examples.shop.history import History
from examples.shop.settings import ORIGIN
from examples.shop.views import HERE
from wixvisitor import Tokens, VisitorPool, VisitorSession
from wixvisitor.cookies import VisitorCookie
from wixvisitor.fastapi import login_router, setup


def make_app(
    pool: VisitorPool,
    *,
    cookie: VisitorCookie,
    origin: str = ORIGIN,
    keys: Sequence[str] | None = None,
    session_of: Callable[[Tokens], VisitorSession] | None = None,
    history: History | None = None,
    kept_in: str = "",
    close: bool = True,
) -> FastAPI:
    """Returns the shop.

    Args:
        pool: makes the visitors; with ``on_change=history.note`` the page can say who renewed their tokens.
        cookie: where they live.
        origin: the shop's, as browsers see it. At Wix ``/auth/callback`` there has to be listed.
        keys: the keys of the cookies of logins; None: those of ``cookie``. A ``SharedCookie`` has none.
        session_of: makes a session for the tokens of before a login, so that carts can be compared; None: they are not.
        history: what is known of the visitors besides.
        kept_in: where they live, in words for the page.
        close: whether the pool is closed at shutdown.
    """
    app = FastAPI(title="Tide & Clay", docs_url=None, redoc_url=None, openapi_url=None)
    setup(app, pool, cookie=cookie, close=close)
    app.state.history = history or History()
    app.state.kept_in = kept_in
    app.state.origin = origin
    app.state.headers = headers_for(origin)
    app.add_middleware(Guard, headers=app.state.headers)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(
        login_router(
            f"{origin}/auth/callback",
            after_login=members.ACCOUNT,
            after_logout=f"{members.SIGN_IN}?done=logged-out",
            login_page=members.SIGN_IN,
            forms=True,
            keys=keys,
            on_login=Carts(session_of).bring if session_of else None,
        )
    )
    for part in (pages, members, checkout, api):
        app.include_router(part.router)
    trouble.install(app)
    return app
