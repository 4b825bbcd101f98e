"""The pages about the command line and the configuration say what the program does."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import respx

from tests.constants import CLIENT_ID
from tools.site.generate import PartsError, filled, pages
from wixvisitor import ConfigurationError, VisitorPool, VisitorSession, cli
from wixvisitor._http.connection_pool import MAX_CONNECTIONS
from wixvisitor._renewal import decision, endpoint, records, refresher
from wixvisitor._web import login_rules, ttl_cache
from wixvisitor.cookies import IdCookie, _content, generate_key
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix

TOP = Path(__file__).parents[2]
CLI = (TOP / "docs/reference/cli.md").read_text("utf-8")
CONFIGURATION = (TOP / "docs/reference/configuration.md").read_text("utf-8")
SITE = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"

MAKERS: dict[str, Callable[..., object]] = {
    **dict.fromkeys(("renew_before", "renew_timeout", "max_retries"), lambda **one: VisitorSession(CLIENT_ID, **one)),
    **dict.fromkeys(("max_token_requests", "new_visitors_per_minute"), lambda **one: VisitorPool(CLIENT_ID, **one)),
    "expire_after": lambda **one: FileStorage("visitor.json", **one),
    "timeout": lambda **one: RedisStorage("redis://127.0.0.1", **one),
    "max_age": lambda **one: IdCookie([generate_key()], **one),
}


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    table = re.search(rf"^## {heading}\n.*?\n\n?\| .*?\n\|[-|]+\|\n(.*?)\n\n", page, re.DOTALL | re.MULTILINE)
    assert table
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


@pytest.mark.parametrize(("path", "text"), list(pages()), ids=lambda one: one.stem if isinstance(one, Path) else "")
def test_committed_is_generated(path: Path, text: str) -> None:
    """The page is as the generator writes it: otherwise run `python -m tools.site.generate`."""
    assert path.read_text("utf-8") == text


def test_a_part_without_a_place_is_noticed() -> None:
    """A new command or class needs a place on its page, and a place needs its part."""
    text = "# Page\n<!-- generated: one -->\nold\n<!-- /generated: one -->\n"
    assert filled(text, {"one": "new"}) == "# Page\n<!-- generated: one -->\n\nnew\n<!-- /generated: one -->\n"
    for parts in ({}, {"one": "", "two": ""}):
        with pytest.raises(PartsError):
            filled(text, parts)


# The command line


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWix]:
    """A directory with the files that the page's examples need. Wix's address is that of FakeWix."""
    fake = FakeWix()
    monkeypatch.chdir(tmp_path)

    async def visit(path: str, key: str) -> None:
        async with VisitorSession(SITE, storage=FileStorage(path), key=key, client=fake.client()) as session:
            await session.generate_visitor_tokens()

    for path, key in (("visitor.json", "default"), ("visitors/", "anna"), ("visitors/", "ben")):
        anyio.run(visit, path, key)
    with respx.mock(assert_all_called=False) as router:
        router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
        yield fake


def shown(page: str) -> list[tuple[str, list[str]]]:
    """Each command in a block of the page, and the lines below it."""
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^\$ python -m wixvisitor ", block, flags=re.MULTILINE)]
    return [(command, lines) for part in parts if part for command, *lines in [part.splitlines()]]


def left_out(shown: list[str], printed: list[str]) -> list[str]:
    """The shown lines from the first one that was not printed, in this order. A line … is any number of lines."""
    rest = list(printed)
    for number, line in enumerate(shown):
        if line == "…":
            continue
        pattern = re.escape(line).replace("…", ".*")
        may_skip = number > 0 and shown[number - 1] == "…"
        while rest and may_skip and not re.fullmatch(pattern, rest[0]):
            rest.pop(0)
        if not rest or not re.fullmatch(pattern, rest.pop(0)):
            return shown[number:]
    return []


def test_the_examples_print_what_the_page_shows(place: FakeWix, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the page ends with 0 and prints the lines that the page shows, in this order; … is any text."""
    examples = shown(CLI)
    assert len(examples) >= 5
    for command, lines in examples:
        assert cli.main(shlex.split(command)) == 0
        printed = capsys.readouterr().out.splitlines()
        assert left_out(lines, printed) == [], printed


def test_the_keys_of_the_doctors_json(place: FakeWix, capsys: pytest.CaptureFixture[str]) -> None:
    """The object has the keys that the page names."""
    assert cli.main(["doctor", "--file", "visitor.json", "--json"]) == 0
    keys = json.loads(capsys.readouterr().out)
    assert all(f"`{key}`" in CLI for key in keys)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["tokens", "--file", "visitor.json"], 0),
        (["tokens", "--file", "nothing.json"], 1),
        (["tokens"], 2),
        (["doctor", "--client-id", "shop"], 2),
    ],
)
def test_the_exit_codes(place: FakeWix, command: list[str], code: int) -> None:
    """A command ends with the code of the page's list."""
    assert cli.main(command) == code
    assert re.search(rf"^- `{code}`: ", CLI, re.MULTILINE)


def test_wix_that_cannot_be_reached_is_3(place: FakeWix) -> None:
    """A command that gets no answer to its token request ends with 3."""
    place.drop(path="*", times=None, grant_type=None)
    assert cli.main(["tokens", "--file", "visitor.json", "--renew"]) == 3


# The configuration


@pytest.mark.parametrize("row", rows(CONFIGURATION, "Units and ranges"), ids=lambda row: row[0])
def test_the_ranges(row: list[str]) -> None:
    """The least and the largest value of the page are accepted, and those beyond them are not."""
    name, text = row[0].split("`")[1], row[1]
    numbers = [float(one.replace(",", "")) for one in re.findall(r"[\d,.]*\d", text.partition("(")[0])]
    kind: Any = int if "whole" in text else float
    step = 1 if kind is int else 1e-4
    good = [kind(numbers[0]) if "above" not in text else 1e-4, *([kind(numbers[1])] if len(numbers) > 1 else [])]
    bad = [kind(numbers[0]) - step if "above" not in text else 0.0, *[kind(one) + step for one in numbers[1:]]]
    for value in [*good, *([None] if "None" in text else [])]:
        MAKERS[name](**{name: value})
    for value in [*bad, "1", True, *([] if "None" in text or name == "max_age" else [None])]:
        with pytest.raises(ConfigurationError, match=name):
            MAKERS[name](**{name: value})


def test_the_environment_variables() -> None:
    """The page lists each variable that the package asks the environment for by its name."""
    sources = "".join(path.read_text("utf-8") for path in (TOP / "wixvisitor").rglob("*.py"))
    names = set(re.findall(r"environ(?:\.get\(|\[)[\"']([A-Z_]+)", sources)) | {"WIX_CLIENT_ID"}
    assert {"SSL_CERT_FILE", "SSL_CERT_DIR"} <= names
    listed = "".join(row[0] for row in rows(CONFIGURATION, "Environment variables"))
    assert [name for name in names if f"`{name}`" not in listed] == []


def test_the_variables_of_the_tests() -> None:
    """The page lists each variable of the project's own tests, and none that nothing reads."""
    sources = "".join(
        path.read_text("utf-8") for path in (TOP / "tests").rglob("*.py") if path.name != "test_generated.py"
    )
    pattern = r"WIXVISITOR_[A-Z_]+[A-Z]"
    assert set(re.findall(pattern, CONFIGURATION)) == set(re.findall(pattern, sources))


def test_the_limits_that_cannot_be_set() -> None:
    """The page's limits are the package's."""
    assert dict(rows(CONFIGURATION, "What cannot be set")) == {
        "one call of a store of your own": f"{records._TIMEOUT:g} s",
        "cooldown after a failed token request": (
            f"{decision.MIN_COOLDOWN:g} s, doubling to {decision.MAX_COOLDOWN:g} s"
        ),
        "longest `Retry-After` that is kept": f"{decision.MAX_RETRY_AFTER:g} s",
        "attempts of one token request": f"{endpoint._ATTEMPTS}",
        "largest answer of the token endpoint that is read": f"{endpoint._MAX_BODY // 1024} KiB",
        "requests at the same time over wixvisitor's own client": f"{MAX_CONNECTIONS}",
        "time that `aclose()` may take": f"{refresher.CLOSING:g} s",
        "record of a forgotten or logged-out visitor": f"{records._BRIEF / 86_400:g} days",
        "a login that was begun": f"{login_rules.LIFE // 60} minutes, {login_rules.MOST} at a time for each browser",
        "cookie of one visitor": f"{_content.LARGEST:,} bytes each, {_content.LARGEST_TOGETHER:,} together",
        "a visitor from a cookie, remembered in one process": f"{ttl_cache.SECONDS / 60:g} minutes",
    }
