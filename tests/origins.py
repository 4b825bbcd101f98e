"""Origins that redirects lead to and from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs

from wixvisitor.testing import FakeWix

NAME = "x-wix-consistent"


@attrs.define
class Place:
    """An origin, and what it was asked."""

    fake: FakeWix
    url: str

    def leads_to(self, path: str, url: str, status: int = 302) -> None:
        """Redirects this path."""
        self.fake.fail(status, headers={"Location": url}, path=path, times=None)

    @property
    def heard(self) -> list[tuple[bool, str | None]]:
        """Whether the token came, and what state, call by call."""
        return [("authorization" in call.headers, call.headers.get(NAME)) for call in self.fake.calls]


@asynccontextmanager
async def place(still: FakeWix) -> AsyncGenerator[Place]:
    """Another origin, with a fake of its own."""
    fake = FakeWix(clock=still.now)
    async with fake.serve() as url:
        yield Place(fake, url)
