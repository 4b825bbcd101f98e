"""Two browsers for a reader who follows a page: one of httpx, which is always there, and Chromium."""

from __future__ import annotations

import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

import attrs
import httpx

SECONDS = 30.0  # for a server that is about to start
T = TypeVar("T")


class Browser(Protocol):
    """What a reader does in a window, which has cookies of its own."""

    def open(self, url: str) -> None: ...

    def press(self, button: str, beside: str = "") -> None:
        """Presses the button with this text: the one in whose line the other text is, if there are several."""

    def type(self, text: str, label: str) -> None: ...

    def reload(self) -> None: ...

    def text(self) -> str:
        """What can be read."""

    def keep(self, name: str) -> None:
        """Keeps a picture, if there is a screen."""

    def close(self) -> None: ...


# No server listens yet; or Chromium still loads its own page that says so.
NOT_YET = ("refused", "chrome-error://")


def when_it_listens(call: Callable[[], T], error: type[Exception]) -> T:
    """Calls until a connection is made: the server may be about to start."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return call()
        except error as failed:
            is_early = any(sign in str(failed).lower() for sign in NOT_YET)
            if not is_early or time.monotonic() > end:
                raise
            time.sleep(0.05)


@attrs.define
class Form:
    """A form of a page: its text, its fields, and its buttons with what they send."""

    action: str
    text: str = ""
    fields: dict[str, str] = attrs.field(factory=dict)
    buttons: dict[str, dict[str, str]] = attrs.field(factory=dict)


class Page(HTMLParser):
    """The text of a page, its forms, and which field has which label."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.forms: list[Form] = []
        self.labels: dict[str, str] = {}
        self._open: list[str] = []
        self._form: Form | None = None
        self._label = ""
        self._button: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open.append(tag)
        match tag:
            case "form":
                self._form = Form(given.get("action", ""))
                self.forms.append(self._form)
            case "label":
                self._label = ""
            case "input" if self._form is not None:
                self.labels[self._label] = given.get("name", "")
                self._form.fields[given.get("name", "")] = given.get("value", "")
            case "button":
                self._button = {given["name"]: given["value"]} if "name" in given else {}

    def handle_endtag(self, tag: str) -> None:
        while tag in self._open and self._open.pop() != tag:
            pass  # it had no end tag
        if tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        words = data.strip()
        if not words or {"title", "style", "script", "noscript"} & set(self._open):
            return
        self.text.append(words)
        if "label" in self._open:
            self._label = words
        if self._form is not None:
            self._form.text += f" {words}"
            if "button" in self._open:
                self._form.buttons[words] = self._button


class HttpBrowser:
    """A browser without a screen and without scripts."""

    def __init__(self) -> None:
        navigation = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        self._client = httpx.Client(headers=navigation, follow_redirects=True, timeout=SECONDS)
        self._url = ""
        self._page = Page("")
        self._typed: dict[str, str] = {}

    def open(self, url: str) -> None:
        self._show(when_it_listens(lambda: self._client.get(url), httpx.ConnectError))

    def press(self, button: str, beside: str = "") -> None:
        [form] = [form for form in self._page.forms if button in form.buttons and beside in form.text]
        address = urlsplit(self._url)
        headers = {"Origin": f"{address.scheme}://{address.netloc}", "Sec-Fetch-Site": "same-origin"}
        content = form.fields | self._typed | form.buttons[button]
        self._show(self._client.post(urljoin(self._url, form.action), data=content, headers=headers))

    def type(self, text: str, label: str) -> None:
        self._typed[self._page.labels[label]] = text

    def reload(self) -> None:
        self.open(self._url)

    def text(self) -> str:
        return " ".join(self._page.text)

    def keep(self, name: str) -> None:
        pass

    def close(self) -> None:
        self._client.close()

    def _show(self, response: httpx.Response) -> None:
        self._url, self._page, self._typed = str(response.url), Page(response.text), {}


class ChromiumWindow:
    """A window of a real Chromium, in a context of its own."""

    def __init__(self, context: Any, pictures: Path) -> None:
        self._context, self._pictures = context, pictures
        self._page = context.new_page()

    def open(self, url: str) -> None:
        from playwright.sync_api import Error

        when_it_listens(lambda: self._page.goto(url), Error)

    def press(self, button: str, beside: str = "") -> None:
        form = self._page.locator("form", has_text=beside) if beside else self._page
        with self._page.expect_navigation():
            form.get_by_role("button", name=button, exact=True).click()

    def type(self, text: str, label: str) -> None:
        self._page.get_by_label(label, exact=True).fill(text)

    def reload(self) -> None:
        self._page.reload()

    def text(self) -> str:
        return str(self._page.locator("body").inner_text())

    def keep(self, name: str) -> None:
        self._page.screenshot(path=self._pictures / f"{name}.png")

    def close(self) -> None:
        self._context.close()
