"""A browser without a server: what it sends, and keeps of the answer."""

from __future__ import annotations

from typing import Any

import attrs

from wixvisitor import Tokens
from wixvisitor._web.visit import Visit
from wixvisitor._web.visits import Visits


@attrs.define
class PlainRequest:
    """A request without a framework."""

    headers: dict[str, str]
    native: Any = None
    method: str = "GET"
    is_websocket: bool = False
    path: str = "/"

    def get(self, name: str, /) -> str | None:
        return self.headers.get(name)


class Browser:
    """Visits without a server.

    Attributes:
        jar: the cookies for all paths.
        copies: those for one path, by name and path; a browser sends them first.
    """

    def __init__(self, visits: Visits, jar: dict[str, str] | None = None) -> None:
        self.visits = visits
        self.jar = jar or {}
        self.copies: dict[tuple[str, str], str] = {}

    def header(self, path: str = "/") -> str:
        copies = [(name, value) for (name, place), value in self.copies.items() if _matches(path, place)]
        return "; ".join(f"{name}={value}" for name, value in [*copies, *self.jar.items()])

    def visit(self, path: str = "/", *, is_document: bool = False) -> Visit:
        headers = {"cookie": self.header(path)} | ({"sec-fetch-dest": "document"} if is_document else {})
        return Visit(self.visits, PlainRequest(headers, path=path))

    def answer(self, visit: Visit) -> list[str]:
        cookies = [] if visit.starts_unseen() else list(visit.start(vary="", cache_control="").cookies)
        for cookie in cookies:
            self._keep(cookie)
        visit.finish()
        return cookies

    def _keep(self, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].partition("=")
        (path,) = (part.strip()[5:] for part in cookie.split(";") if part.strip().startswith("Path="))
        if path != "/":
            assert not value
            self.copies.pop((name, path), None)
            return
        self.jar.pop(name, None)
        if value:
            self.jar[name] = value

    async def calls(self, path: str = "/") -> tuple[Tokens, list[str]]:
        """One request that asks Wix."""
        visit = self.visit(path)
        tokens = await (await visit.visitor()).generate_visitor_tokens()
        return tokens, self.answer(visit)

    async def sets(self, tokens: Tokens, path: str = "/") -> list[str]:
        """One request that logs in, or out."""
        visit = self.visit(path)
        await (await visit.visitor()).set_tokens(tokens)
        return self.answer(visit)


def _matches(path: str, place: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == place or path.startswith(place if place.endswith("/") else f"{place}/")
