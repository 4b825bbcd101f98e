"""docs/explanation/security.md names a test for every threat, and every test that it names is there and runs."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs/explanation/security.md").read_text("utf-8")
NOT_THREATS = ("Keys, and how to change them", "Reporting a vulnerability")
PARTS = ("**Has:**", "**Does:**", "**Does not:**", "**Shown by:**")
NODE_ID = re.compile(r"`(tests/[^`]*\.py::[^`]*)`")


def sections(page: str) -> dict[str, str]:
    """The text of each section by its heading."""
    return dict(part.split("\n", 1) for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:])


def named(text: str) -> list[str]:
    """The node ids in a text, in their order."""
    return NODE_ID.findall(text)


@functools.cache
def found_in(path: Path) -> dict[str, bool]:
    """The tests of a file, `Class::test` those in classes, and whether they always run."""
    if not path.is_file():
        return {}
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for one in inner:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test"):
                marks = " ".join(ast.unparse(decorator) for decorator in (*node.decorator_list, *one.decorator_list))
                found[prefix + one.name] = not re.search(r"pytest\.mark\.(skip|xfail)\b", marks)
    return found


def missing(node_ids: list[str], top: Path = TOP) -> list[str]:
    """Those that are no test, or one that is marked to be skipped or to fail."""
    split = (node_id.partition("::") for node_id in node_ids)
    return [f"{path}::{name}" for path, _, name in split if not found_in(top / path).get(name)]


SECTIONS = sections(PAGE)
THREATS = [heading for heading in SECTIONS if heading not in NOT_THREATS]


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_test_that_is_named_exists(heading: str) -> None:
    """A test that was renamed, removed or disabled is still named on the page: say what shows the defence now."""
    assert missing(named(SECTIONS[heading])) == []


@pytest.mark.parametrize("heading", THREATS)
def test_every_threat_is_told_in_full(heading: str) -> None:
    """What the attacker has, what is done and what is not, in this order, and at least one test that shows it."""
    places = [SECTIONS[heading].find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    assert named(SECTIONS[heading][places[-1] :]), "no test is named"
    assert all(SECTIONS[heading].count(part) == 1 for part in PARTS)


def test_no_threat_was_dropped() -> None:
    """The threats that the page has to speak of: caches, cookies, origins, stores, answers; and where to report."""
    words = " ".join(SECTIONS).lower()
    for word in ("logs", "process", "shared cache", "stolen cookie", "planted", "origin", "store", "wix answer"):
        assert word in words, word
    assert "private security advisory" in SECTIONS["Reporting a vulnerability"]
    assert named(SECTIONS["Keys, and how to change them"]) != []


def test_every_reference_is_understood() -> None:
    """No `::` on the page escapes the walk, in whatever spelling."""
    assert PAGE.count("::") == len(named(PAGE))


@pytest.mark.parametrize(
    ("node_id", "is_missing"),
    [
        ("tests/test_a.py::test_there", False),
        ("tests/test_a.py::TestGroup::test_inside", False),
        ("tests/test_a.py::test_gone", True),
        ("tests/test_a.py::test_inside", True),
        ("tests/test_a.py::helper", True),
        ("tests/test_a.py::test_skipped", True),
        ("tests/test_a.py::test_expected_to_fail", True),
        ("tests/test_a.py::test_skipped_on_windows", False),
        ("tests/test_gone.py::test_there", True),
    ],
)
def test_the_walk(tmp_path: Path, node_id: str, *, is_missing: bool) -> None:
    """What counts as a test that is there: not one in another class, of another kind, or that never runs."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "def test_there(): ...\nasync def helper(): ...\nclass TestGroup:\n    async def test_inside(self): ...\n"
        "@pytest.mark.skip(reason='x')\ndef test_skipped(): ...\n@pytest.mark.xfail\ndef test_expected_to_fail(): ...\n"
        "@pytest.mark.skipif(True, reason='x')\ndef test_skipped_on_windows(): ...\n",
        "utf-8",
    )
    assert missing([node_id], tmp_path) == ([node_id] if is_missing else [])
