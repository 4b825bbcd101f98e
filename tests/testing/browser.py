"""A browser without a screen: it keeps cookies, reads forms, sends them, and stops at a page that is not the fake's."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import attrs
import httpx


class _Reader(HTMLParser):
    """Reads a page's heading, its only form, its alerts and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.fields: dict[str, str] = {}
        self.action: str | None = None
        self.buttons: dict[str, dict[str, str]] = {}
        self.links: list[str] = []
        self._button: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        found = {name: value or "" for name, value in attributes}
        match tag:
            case "form":
                self.action = found["action"]
            case "input":
                self.fields[found["name"]] = found.get("value", "")
            case "button":
                self._button = {found["name"]: found["value"]} if "name" in found else {}
            case "a":
                self.links.append(found["href"])

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self.buttons[data] = self._button
            self._button = None
        if data.strip():
            self.text.append(data.strip())


@attrs.define
class Browser:
    """One browser, and the page that it shows.

    Attributes:
        shop: Where it stopped: an address that is not the fake's, whose page is not fetched.
    """

    client: httpx.AsyncClient
    response: httpx.Response | None = None
    shop: str | None = None

    async def open(self, url: str) -> Browser:
        """Opens an address, and follows redirects while they lead to the fake."""
        return await self._visit("GET", url)

    async def press(self, button: str, **fields: str) -> Browser:
        """Fills the form and presses the button with this text."""
        page = self._page()
        assert page.action is not None
        assert set(fields) <= set(page.fields), "the form has no such field"
        content = {**page.fields, **fields, **page.buttons[button]}
        assert self.response is not None
        return await self._visit("POST", urljoin(str(self.response.url), page.action), data=content)

    async def _visit(self, method: str, url: str, **given: Any) -> Browser:
        home = urlsplit(url).netloc
        self.shop = None
        self.response = await self.client.request(method, url, **given)
        while self.response.is_redirect:
            url = urljoin(str(self.response.url), self.response.headers["location"])
            if urlsplit(url).netloc != home:
                self.shop = url
                break
            self.response = await self.client.get(url)
        return self

    def _page(self) -> _Reader:
        assert self.response is not None
        reader = _Reader()
        reader.feed(self.response.text)
        return reader

    @property
    def status(self) -> int:
        assert self.response is not None
        return self.response.status_code

    @property
    def text(self) -> str:
        return " ".join(self._page().text)

    @property
    def links(self) -> list[str]:
        return self._page().links

    @property
    def parameters(self) -> dict[str, str]:
        """What the shop gets in its address, in the query or the fragment."""
        assert self.shop is not None, self.text
        parts = urlsplit(self.shop)
        return dict(parse_qsl(parts.fragment or parts.query))
