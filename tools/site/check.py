"""What is wrong with a built site: links that lead nowhere, pages that no menu has, parts that another host serves.

Zensical checks links that are written in Markdown. This also sees those in HTML, those of the reference, and pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import attrs

from tools.site.pages import is_placeholder

_LOADS = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "link": "href"}
_FOR_ALL_PAGES = "404.html"  # its links are absolute, since the server shows it at any address


@attrs.define
class Page(HTMLParser):
    """What a page links to, loads and can be linked to.

    Args:
        links: the targets of its links.
        loads: the addresses of scripts, styles and pictures.
        anchors: the ids of its parts.
        unnamed: pictures without a text for readers who do not see them.
    """

    links: list[str] = attrs.field(factory=list, init=False)
    loads: list[str] = attrs.field(factory=list, init=False)
    anchors: set[str] = attrs.field(factory=set, init=False)
    unnamed: list[str] = attrs.field(factory=list, init=False)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for each element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in _LOADS and _LOADS[tag] in values and not (tag == "link" and values.get("rel") in {"next", "prev"}):
            self.loads.append(values[_LOADS[tag]])
        if tag == "img" and not values.get("alt"):
            self.unnamed.append(values.get("src", ""))


def read(site: Path) -> dict[str, Page]:
    """Returns all pages of a site by their paths."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path.relative_to(site).as_posix()] = page
    return pages


def problems(site: Path) -> Iterator[str]:
    """Yields what is wrong with the site, a sentence each."""
    pages = read(site)
    pages.pop(_FOR_ALL_PAGES, None)
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    anchors = {name: page.anchors | {"__top"} for name, page in pages.items()}
    for name, page in pages.items():
        yield from _broken_links(name, page, files, anchors)
        yield from _broken_parts(name, page, files)
    links = ((name, _within(name, target)[0]) for name, page in pages.items() for target in page.links)
    linked = {"index.html"} | {place for name, place in links if place != name}  # its own headings link to themselves
    yield from (f"no other page links to {name}" for name in sorted(set(pages) - linked))


def _broken_links(name: str, page: Page, files: set[str], anchors: dict[str, set[str]]) -> Iterator[str]:
    for target in page.links:
        place, anchor = _within(name, target)
        if is_placeholder(target):
            yield f"{name} links to {target}, which is a placeholder"
        elif place is not None and place not in files:
            yield f"{name} links to {target}, which does not exist"
        elif place in anchors and anchor and anchor not in anchors[place]:
            yield f"{name} links to {target}: the page has no such part"


def _broken_parts(name: str, page: Page, files: set[str]) -> Iterator[str]:
    for address in page.loads:
        place, _ = _within(name, address)
        if place is None and not address.startswith("data:"):
            yield f"{name} loads {address} from another host"
        elif place is not None and place not in files:
            yield f"{name} shows {address}, which does not exist"
    yield from (f"{name} shows {picture} without an alt text" for picture in page.unnamed)


def _within(page: str, target: str) -> tuple[str | None, str]:
    """Returns the path in the site that a page's link leads to, or None if it leaves the site, and the anchor."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None, ""
    address, anchor = urldefrag(urljoin(f"http://site/{page}", target))
    path = unquote(urlsplit(address).path).lstrip("/")
    return (path or "index.html") if not path.endswith("/") else f"{path}index.html", unquote(anchor)
