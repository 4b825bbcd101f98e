"""How the site reads the package: docstrings as Markdown with links, and classes as their users see them.

Docstrings write code in double backquotes, as Python's tools expect it. Where such code is a public name of the
package, the site makes it a link. ``tools.site.objects`` has what concerns signatures and members.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

import wixvisitor
from tools.site import objects, tables

_ROLE = re.compile(r":(?:class|data|func|meth|mod|exc):`~?([^`]+)`")
_CODE = re.compile(r"``([A-Za-z_][\w.]*?)(\(\))?``")
_LABEL = re.compile(r"^(Cancellation|Concurrency|Deprecated|Permissions|Raises|Scopes): *(\w?)(?=[^\n])", re.MULTILINE)
_LIST = re.compile(r"^(Permissions|Scopes):\n((?: +.*\n?)+)", re.MULTILINE)
_FURTHER = re.compile(r"^ +(What .+ raises.*)\n?", re.MULTILINE)
_RAISES = re.compile(r"^Raises:\n((?:(?: .*)?\n)*)", re.MULTILINE)
_SEE = re.compile(r"^See (https://\S+)$", re.MULTILINE)

_NO_LINK = {"__version__", "errors", "storage"}  # the last two are modules
PUBLIC = {name: f"wixvisitor.{name}" for name in wixvisitor.__all__ if name not in _NO_LINK} | {
    name: f"wixvisitor.{module}.{name}"
    for module, names in {
        "apis": ["each"],
        "cookies": ["IdCookie", "SealedCookie", "SharedCookie"],
        "fastapi": ["CatalogVisitor", "CurrentMember", "CurrentVisitor"],
        "members": ["LoginOutcome", "MemberLogin", "MemberLoginError"],
        "storage": ["ANY_VERSION", "FileStorage", "MemoryStorage", "TokenStorage", "VersionConflict"],
        "storage.moving": ["MovingStorage"],
        "storage.sealed": ["SealedStorage"],
        "storage.sqlalchemy": ["SQLAlchemyStorage"],
        "storage.sqlite": ["SQLiteStorage"],
        "testing": ["FakeWix"],
        "web": ["BlockingBrowserVisitors", "BrowserVisit", "BrowserVisitors", "CatalogReader"],
        "asgi": ["VisitorMiddleware"],
    }.items()
    for name in names
}


class Docstrings(griffe.Extension):
    """Makes Markdown with links of each docstring of the package, and completes its classes."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, of=obj.name)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by griffe when it has read the whole package."""
        objects.complete(pkg)


def as_markdown(text: str, *, of: str = "") -> str:
    """Returns a docstring as Markdown.

    Args:
        text: the docstring.
        of: the name of what it describes, which gets no link to itself.
    """
    text = tables.as_markdown(text)
    text = _RAISES.sub(_raises, text + "\n").rstrip()
    text = _LIST.sub(lambda found: f"{found[1]}: {' '.join(f'``{word}``' for word in found[2].split())}\n", text)
    text = _SEE.sub(r"[Wix's reference](\1)", text)
    text = _ROLE.sub(r"``\1``", text)
    text = _LABEL.sub(lambda found: f"\n**{found[1]}.** {found[2].upper()}", text)
    return _CODE.sub(lambda found: _linked(found, of), text)


def _raises(found: re.Match[str]) -> str:
    """Returns the section. What is raised besides, like "What ``request`` raises.", becomes a sentence below it."""
    further = [line[1].rstrip(".") for line in _FURTHER.finditer(found[1])]
    if not further:
        return found[0]
    own = _FURTHER.sub("", found[1]).rstrip()
    sentence = f"Raises: {' '.join(('also ' if own else '') + line[0].lower() + line[1:] for line in further)}.\n\n"
    return f"Raises:\n{own}\n\n{sentence}" if own else sentence


def _linked(found: re.Match[str], of: str) -> str:
    name, _, rest = found[1].partition(".")
    target = PUBLIC.get(name)
    if target is None or name == of or "." in rest:
        return found[0]
    return f"[`{found[1]}{found[2] or ''}`][{target}{'.' if rest else ''}{rest}]"
