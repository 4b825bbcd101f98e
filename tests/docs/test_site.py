"""The built site in a real Chromium: on three widths, in both colours, as files, without JavaScript; and what it lacks.

``nox -s docs`` builds it first. Nothing on any page may be loaded from elsewhere, and no page scrolls sideways.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import FLAGS, anyio_backend, browser, chromium, lacking, playwright  # noqa: F401
from tools.site.check import problems

pytestmark = [pytest.mark.site, pytest.mark.anyio]

SITE = Path(__file__).parents[2] / "site"
WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
SHOWN = ("index", "tutorial", "how-to/frameworks", "reference/visitors", "explanation/one-visitor")  # for the pictures
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    if not PAGES:
        lacking("the site is not built: nox -s docs")


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The site on a server of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Seen:
    """A tab, and what went wrong in it."""

    def __init__(self, tab: Any, start: str) -> None:
        self.tab, self.start = tab, start
        self.wrong: list[str] = []
        tab.on("console", lambda said: self.wrong.append(said.text) if said.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        tab.on("response", lambda answer: self.wrong.append(answer.url) if answer.status >= 400 else None)
        tab.on("request", lambda request: None if self.is_ours(request.url) else self.wrong.append(request.url))

    def is_ours(self, url: str) -> bool:
        return url.startswith((self.start, "blob:", "data:"))

    async def go(self, page: str) -> None:
        await self.tab.goto(self.start + page)

    async def ready(self) -> None:
        """Waits until the page's scripts run, and listen to keys and taps."""
        await self.tab.wait_for_load_state("networkidle")


@pytest.fixture
async def open_tab(browser: Any, address: str) -> AsyncGenerator[Any]:  # noqa: F811
    """Opens a tab: its width, the system's colours, and whether it reads files instead of asking the server."""
    contexts = []

    async def open_tab(width: str = "desktop", colours: str = "light", *, files: bool = False, **options: Any) -> Seen:
        wide, high = WIDTHS[width]
        viewport = {"width": wide, "height": high}
        context = await browser.new_context(viewport=viewport, color_scheme=colours, **options)
        contexts.append(context)
        return Seen(await context.new_page(), f"{SITE.as_uri()}/" if files else address)

    yield open_tab
    for context in contexts:
        await context.close()


async def test_nothing_is_wrong_with_it() -> None:
    """Each link and each part of a page is there, each page is in a menu, each picture has a text."""
    assert list(problems(SITE)) == []
    assert len(PAGES) > 40


@pytest.mark.parametrize("width", WIDTHS)
async def test_each_page_fits(open_tab: Any, width: str) -> None:
    """No page scrolls sideways, logs an error, loads from another host, or shows a picture that is not there."""
    seen = await open_tab(width)
    too_wide, without = [], []
    for page in PAGES:
        await seen.go(page)
        wide = await seen.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        too_wide += [page] if wide > 0 else []
        broken = "[...document.images].filter(each => each.complete && !each.naturalWidth).map(each => each.src)"
        without += await seen.tab.evaluate(broken)
    assert (too_wide, without, seen.wrong) == ([], [], [])


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_its_colours_are_the_system_s(open_tab: Any, width: str, colours: str) -> None:
    """Text and ground differ by at least 7 to 1, and each double picture shows its half for these colours."""
    seen = await open_tab(width, colours)
    for page in SHOWN:
        await seen.go(f"{page}.html")
        assert await seen.tab.evaluate(CONTRAST) >= 7
        shown = await seen.tab.evaluate(
            "[...document.querySelectorAll('img[src*=\"#only-\"]')].filter(each => each.offsetWidth)"
            ".map(each => each.getAttribute('src').split('#only-')[1])"
        )
        halves = await seen.tab.locator('img[src*="#only-"]').count()
        assert shown == [colours] * (halves // 2)
        if directory := os.environ.get("WIXVISITOR_SCREENSHOTS"):
            name = f"site-{page.replace('/', '-')}-{width}-{colours}.png"
            await seen.tab.screenshot(path=str(Path(directory) / name))


CONTRAST = """() => {
    const light = (colour) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
        const linear = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const text = light(getComputedStyle(document.querySelector("article p")).color);
    const ground = light(getComputedStyle(document.body).backgroundColor);
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}"""  # WCAG 2.2, relative luminance and contrast ratio


async def test_a_reader_chooses_the_colours(open_tab: Any) -> None:
    """The button goes from the system's colours to light, to dark and back, and a new page keeps the choice."""
    seen = await open_tab(colours="light")
    await seen.go("index.html")
    schemes = []
    for _ in range(3):
        await seen.tab.locator("form[data-md-component=palette] label:visible").click()
        await seen.go("tutorial.html")
        schemes.append(await seen.tab.evaluate("document.body.dataset.mdColorScheme"))
    assert schemes == ["default", "slate", "default"]
    assert seen.wrong == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("rotate key", "cookies"),
        ("nginx", "deploy"),
        ("SessionExpired", "errors"),
        ("pytest fixture", "testing"),
        ("VisitorPool", "visitors"),
        ("checkout", "checkout"),
        ("limitations", "not-promised"),
        ("contribute", "contributing"),
        ("redis unavailable", "redis"),
        ("thread-safe", "index"),
    ],
)
@pytest.mark.parametrize("files", [False, True], ids=["server", "files"])
async def test_search_finds(open_tab: Any, *, files: bool, words: str, page: str) -> None:
    """Search has the page among its results, with a server and as files, and asks no other host."""
    seen = await open_tab(files=files)
    await seen.go("index.html")
    await seen.ready()
    await seen.tab.keyboard.press("Control+k")
    await seen.tab.get_by_role("combobox", name="Search").fill(words)
    results = seen.tab.locator("[role=listbox] a")
    await results.first.wait_for()
    targets = [await each.get_attribute("href") for each in (await results.all())[:10]]
    assert [target for target in targets if f"/{page}.html" in target]
    assert seen.wrong == []


async def test_a_phone_s_menu(open_tab: Any) -> None:
    """On a phone the menu opens, and leads from the home page to an answer."""
    seen = await open_tab("phone", has_touch=True)
    await seen.go("index.html")
    await seen.ready()
    menu = seen.tab.locator(".md-nav--primary")
    await seen.tab.locator("label[for=__drawer]:visible").first.tap()
    await menu.get_by_role("link", name="How-to", exact=True).tap()
    await seen.tab.wait_for_url("**/how-to/index.html")
    await seen.ready()
    await seen.tab.locator("label[for=__drawer]:visible").first.tap()
    await menu.get_by_text("Testing", exact=True).first.tap()
    await menu.get_by_role("link", name="Test your app", exact=True).tap()
    await seen.tab.wait_for_url("**/how-to/testing.html")
    assert seen.wrong == []


async def test_without_javascript(open_tab: Any) -> None:
    """The text and the menus are there, and a link leads on."""
    seen = await open_tab(java_script_enabled=False)
    await seen.go("index.html")
    await seen.tab.locator("nav.md-tabs a").get_by_text("Tutorial").click()
    await seen.tab.wait_for_url("**/tutorial.html")
    assert await seen.tab.locator("article h1").is_visible()
