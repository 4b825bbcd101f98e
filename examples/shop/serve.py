"""Runs the shop, and FakeWix beside it where there is no Wix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import attrs
import uvicorn
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from examples.shop.app import make_app
from examples.shop.catalogue import PRODUCTS
from examples.shop.history import History
from examples.shop.settings import HOST, Settings
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix


def run(settings: Settings) -> None:
    """Serves until it is told to stop."""
    anyio.run(_prepare, settings)
    with _wix(settings) as where:
        os.environ.update(attrs.evolve(settings, base_url=where).to_environment())
        print(f"Tide & Clay is open: {settings.origin}/", flush=True)  # noqa: T201 - a command line
        uvicorn.run(
            "examples.shop.serve:app_from_environment",
            factory=True,
            host=HOST,
            port=settings.port,
            workers=settings.workers,
            log_level="warning",
        )


def app_from_environment() -> FastAPI:
    """Returns the shop that the environment describes: each worker process makes its own."""
    settings, history = Settings.from_environment(os.environ), History()
    wix = settings.base_url or "https://www.wixapis.com"
    pool = VisitorPool(
        settings.site,
        storage=settings.storage(),
        base_url=wix,
        on_change=history.note,
        renew_timeout=5.0,  # a shopper who waits longer than that is gone; the visitor is not
    )
    return make_app(
        pool,
        cookie=settings.cookie(),
        origin=settings.origin,
        keys=settings.keys.split(","),
        session_of=lambda tokens: VisitorSession(settings.site, tokens=tokens, base_url=wix),
        history=history,
        kept_in=settings.kept_in,
    )


async def _prepare(settings: Settings) -> None:
    """Creates the tables, if visitors live in a database. A real shop has them in its migrations."""
    storage: Any = settings.storage()
    if hasattr(storage, "create_table"):
        async with storage:
            await storage.create_table()


@contextmanager
def _wix(settings: Settings) -> Iterator[str | None]:
    """Hands out where Wix is; None is Wix's own place."""
    if not settings.needs_fake:
        yield settings.base_url
        return
    fake = FakeWix(products=PRODUCTS, keep_calls=1_000)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve(page=True)) as url:
        print(f"FakeWix plays Wix, and shows what the shop asks of it: {url}/", flush=True)  # noqa: T201 - a command line
        yield url
