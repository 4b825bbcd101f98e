"""What a page is made of, for tests that look at its basics."""

from __future__ import annotations

from html.parser import HTMLParser

import attrs

VOID = {"meta", "link", "input", "br"}


@attrs.define(eq=False)
class Element:
    """One element with its attributes and all text within."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""

    def get(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def label(self) -> str:
        return " ".join((self.get("aria-label") or self.text).split())


class Page(HTMLParser):
    """A page, parsed; ``<template>`` and what is in there is left out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self._templates = 0
        self.feed(text)
        assert not self._open, [element.name for element in self._open]

    def all(self, *names: str) -> list[Element]:
        return [element for element in self.elements if element.name in names]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._templates += tag == "template"
        element = Element(tag, dict(attrs))
        if not self._templates:
            self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._templates:
            self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag, tag
        self._templates -= tag == "template"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def check_basics(text: str) -> Page:
    """Asserts what every page owes to people who do not see it, and to the content security policy."""
    page = Page(text)
    assert page.all("html")[0].get("lang") == "en"
    assert page.all("title")[0].label
    assert len(page.all("h1")) == len(page.all("main")) == 1
    levels = [int(heading.name[1]) for heading in page.all("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False)), levels
    labelled = {label.get("for") for label in page.all("label")}
    for field in page.all("input", "select", "textarea"):
        assert field.get("type") == "hidden" or field.get("id") in labelled
    assert all(control.label for control in page.all("button", "a"))
    assert [e for e in page.elements if e.get("role") == "status" and e.get("aria-live") == "polite"]
    ids = [element.get("id") for element in page.elements if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(script.get("src").startswith("/static/") for script in page.all("script"))
    assert not page.all("style")
    assert not any(
        "style" in e.attributes or any(name.startswith("on") for name in e.attributes) for e in page.elements
    )
    assert 'name="viewport"' in text
    return page
