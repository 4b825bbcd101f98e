"""How pages become the site's, and what its check finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site.check import problems
from tools.site.docstrings import as_markdown
from tools.site.pages import BrokenLinkError, as_in_the_site

ADDRESS = "https://github.com/someone/wixvisitor"
FILES = frozenset(
    {
        *("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs/index.md", "docs/how-to/deploy.md", "examples/shop"),
        *("docs/pictures/herd-light.svg", "docs/pictures/herd-dark.svg", "examples/shop/app.py"),
    }
)
PICTURE = (
    '<picture><source media="(prefers-color-scheme: dark)" srcset="pictures/herd-dark.svg">'
    '<img src="pictures/herd-light.svg" alt="Calls"></picture>'
)


@pytest.mark.parametrize(
    ("path", "link", "in_the_site"),
    [
        ("docs/index.md", "how-to/deploy.md#nginx", "how-to/deploy.md#nginx"),
        ("docs/how-to/deploy.md", "../../CONTRIBUTING.md", "../project/contributing.md"),
        ("docs/how-to/deploy.md", "../../examples/shop/app.py", f"{ADDRESS}/blob/main/examples/shop/app.py"),
        ("docs/how-to/deploy.md", "../../examples/shop", f"{ADDRESS}/tree/main/examples/shop"),
        ("CONTRIBUTING.md", "docs/how-to/deploy.md", "../how-to/deploy.md"),
        ("CONTRIBUTING.md", "CHANGELOG.md", "changelog.md"),
        ("CONTRIBUTING.md", "LICENSE", f"{ADDRESS}/blob/main/LICENSE"),
        ("docs/index.md", "https://example.com/a.md", "https://example.com/a.md"),
        ("docs/index.md", "#below", "#below"),
        ("CONTRIBUTING.md", 'CHANGELOG.md "What changed"', 'changelog.md "What changed"'),
    ],
)
def test_a_link_in_the_site(path: str, link: str, in_the_site: str) -> None:
    """A link to a page stays in the site, also from the top of the repository; any other leads to the repository."""
    assert as_in_the_site(f"See [this]({link}).", path, ADDRESS, FILES) == f"See [this]({in_the_site})."


@pytest.mark.parametrize(
    ("text", "in_the_site"),
    [
        ("[the shop](../../examples/shop/app.py)", "the shop (`examples/shop/app.py`)"),
        ("[its end](../../examples/shop/app.py#L9)", "its end (`examples/shop/app.py`)"),
        ("[`app.py`](../../examples/shop/app.py)", "`examples/shop/app.py`"),
        ("[the\nshop](../../examples/shop)", "the\nshop (`examples/shop`)"),
        ("[how](../index.md), [there](https://example.com/blob/main/x)", None),
    ],
)
def test_no_page_links_to_a_placeholder(text: str, in_the_site: str | None) -> None:
    """While the project has no address, a page names a file of the repository by its path; other links stay."""
    page = as_in_the_site(text, "docs/how-to/deploy.md", "https://repository.invalid/wixvisitor", FILES)
    assert page == (in_the_site or text)


def test_a_link_to_nothing() -> None:
    """The build stops at a link to a file that does not exist, and names both."""
    with pytest.raises(BrokenLinkError, match=r"docs/index\.md links to how-to/none\.md"):
        as_in_the_site("[x](how-to/none.md)", "docs/index.md", ADDRESS, FILES)


@pytest.mark.parametrize(
    "code", ["`[x](none.md)`", "```python\n[x](none.md)\n```\n", "1. x\n\n   ```text\n   [x](none.md)\n   ```\n"]
)
def test_code_stays(code: str) -> None:
    """What looks like a link in code is none."""
    assert as_in_the_site(code, "docs/index.md", ADDRESS, FILES) == code


def test_a_picture_has_two_colours() -> None:
    """Each half of a picture is shown in its colours."""
    assert as_in_the_site(PICTURE, "docs/index.md", ADDRESS, FILES) == (
        '<img src="pictures/herd-light.svg#only-light" alt="Calls">'
        '<img src="pictures/herd-dark.svg#only-dark" alt="Calls">'
    )


def test_a_docstring() -> None:
    """Public names become links, roles become code, and the lines about tasks get a label."""
    text = as_markdown("Raises ``StorageError``; see :class:`Tokens` and ``loads``.\nConcurrency: safe.", of="load")
    assert text == (
        "Raises [`StorageError`][wixvisitor.StorageError]; see [`Tokens`][wixvisitor.Tokens] and ``loads``.\n"
        "\n**Concurrency.** Safe."
    )


SOUND = '<a href="b.html#part">b</a><img src="p.svg" alt="A picture"><h1 id="top">A</h1>'


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("", None),
        ('<a href="none.html">', "index.html links to none.html, which does not exist"),
        ('<a href="b.html#none">', "index.html links to b.html#none: the page has no such part"),
        ('<img src="none.svg" alt="x">', "index.html shows none.svg, which does not exist"),
        ('<img src="p.svg">', "index.html shows p.svg without an alt text"),
        ('<script src="https://cdn.example/x"></script>', "index.html loads https://cdn.example/x from another host"),
        ('<a href="https://example.com/none">', None),
        ('<a href="https://a.invalid/x">', "index.html links to https://a.invalid/x, which is a placeholder"),
    ],
)
def test_what_the_check_finds(tmp_path: Path, page: str, wrong: str | None) -> None:
    """A link to nothing, a picture that is missing or without a text, and what another host serves."""
    (tmp_path / "index.html").write_text(SOUND + page, "utf-8")
    (tmp_path / "b.html").write_text('<h2 id="part">B</h2><a href="index.html">a</a>', "utf-8")
    (tmp_path / "p.svg").touch()
    assert list(problems(tmp_path)) == ([wrong] if wrong else [])


def test_a_page_in_no_menu(tmp_path: Path) -> None:
    """A page that no other page links to is found."""
    (tmp_path / "index.html").write_text("<h1>A</h1>", "utf-8")
    (tmp_path / "lost.html").write_text('<h1 id="l">L<a href="#l">#</a></h1>', "utf-8")
    assert list(problems(tmp_path)) == ["no other page links to lost.html"]
