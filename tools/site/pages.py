"""How a page of the repository becomes a page of the site. Pure.

The pages read well where the repository is browsed. So they link to files of the repository by relative paths, and
show pictures by ``<picture>``. The site needs both in another form. It also shows three pages that stand at the top of
the repository, where people look for them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

AT_THE_TOP = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|<)(?P<path>[^)#\s]+)(?P<rest>[^)\s]*(?: \"[^\"]*\")?)(?=\))")
_TO_THE_REPOSITORY = re.compile(
    r"\[(?P<text>[^\[\]]+)\]\((?P<address>https://[^)\s]+)/(?:blob|tree)/main/(?P<path>[^)\s]+)\)"
)
_CODE = re.compile(r"^ *(?P<fence>`{3,}).*?^ *(?P=fence)`*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(?P<dark>[^"]+)">\s*'
    r'<img (?P<before>[^>]*?)src="(?P<light>[^"]+)"(?P<after>[^>]*)>\s*</picture>'
)


_PUBLISHED = (".md", ".svg", ".png", ".css")


class BrokenLinkError(Exception):
    """A page links to a file that does not exist."""


def place_of(path: str) -> str | None:
    """Returns the place in the site of a file of the repository, or None if the site does not show it."""
    if path.startswith("docs/") and not path.endswith(_PUBLISHED):
        return None
    return AT_THE_TOP.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)


def as_in_the_site(text: str, path: str, repository: str, files: AbstractSet[str]) -> str:
    """Returns the Markdown of a page as the site needs it.

    Args:
        text: the page.
        path: where it stands in the repository, like ``docs/tutorial.md``.
        repository: the project's address. While it is a placeholder, links to files that the site does not show become
            the paths of these files.
        files: the paths of all files and folders of the repository.

    Raises:
        BrokenLinkError: a link leads to nothing.
    """
    here = place_of(path)
    assert here is not None

    def target(match: re.Match[str]) -> str:
        to = posixpath.normpath(posixpath.join(posixpath.dirname(path), match["path"]))
        if to not in files:
            raise BrokenLinkError(f"{path} links to {match['path']}, which does not exist")
        place = place_of(to)
        if place is None:
            kind = "blob" if posixpath.splitext(to)[1] or to == "LICENSE" else "tree"
            return f"{repository}/{kind}/main/{to}{match['rest']}"
        return posixpath.relpath(place, posixpath.dirname(here) or ".") + match["rest"]

    page = "".join(part if is_code else _PICTURE.sub(_both, _LINK.sub(target, part)) for part, is_code in _parts(text))
    return _without_links_to(repository, page) if is_placeholder(repository) else page


def is_placeholder(address: str) -> bool:
    """Returns whether an address leads nowhere: no host below ``.invalid`` exists (RFC 2606 section 2)."""
    return (urlsplit(address).hostname or "").endswith(".invalid")


def _without_links_to(repository: str, page: str) -> str:
    """Returns a page that names the files of the repository by their paths instead of linking to them."""

    def named(match: re.Match[str]) -> str:
        if match["address"] != repository:
            return match[0]
        text, path = match["text"], match["path"].partition("#")[0]
        is_said_by_the_path = f"/{path}".endswith(f"/{text.strip('`')}")
        return f"`{path}`" if is_said_by_the_path else f"{text} (`{path}`)"

    return _TO_THE_REPOSITORY.sub(named, page)


def _parts(text: str) -> list[tuple[str, bool]]:
    """Returns the parts of a page, each with whether it is code."""
    parts, end = [], 0
    for match in _CODE.finditer(text):
        parts += [(text[end : match.start()], False), (match[0], True)]
        end = match.end()
    return [*parts, (text[end:], False)]


def _both(match: re.Match[str]) -> str:
    """A ``<picture>`` follows the colours of the system; the reader of the site may choose others."""
    return "".join(
        f'<img {match["before"]}src="{match[kind]}#only-{kind}"{match["after"]}>' for kind in ("light", "dark")
    )
