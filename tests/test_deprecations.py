"""docs/project/deprecations.md lists every warning of a deprecation that the package can give."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_security_page import missing, named
from tools.imports import MODULES
from wixvisitor import VisitorSession, is_refusal
from wixvisitor._version import __version__
from wixvisitor._wire.token_endpoint import TokenAnswer, read_answer

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs/project/deprecations.md").read_text(encoding="utf-8")
DEPRECATED = PAGE.partition("## What is deprecated now")[2]
# Where a warning is given, and what the page calls it.
WARNINGS = {
    ("_renewal.settings", "_judge"): "`is_refusal=`",
    ("_wire.token_endpoint", "is_refusal"): "`wixvisitor.is_refusal`",
    ("apis._runtime", "deprecated"): None,  # by this decorator; its uses are looked for as well
}


def functions_with(module: str, wanted: str) -> set[str]:
    """The functions at the top of a module in which a name stands, decorators included."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    if wanted not in {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}:
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {getattr(inner, "id", getattr(inner, "attr", "")) for inner in ast.walk(node)}
            found |= {node.name} if wanted in names else set()
    assert found, f"{module}: {wanted} stands outside of functions"
    return found


def test_every_warning_is_listed() -> None:
    """Each place that warns of a deprecation has a line on the page."""
    places = {(module, name) for module in MODULES for name in functions_with(module, "DeprecationWarning")}
    inner = {("apis._runtime", "mark"), ("apis._runtime", "warns")}  # within `deprecated`
    assert places - inner == set(WARNINGS)
    assert [name for name in WARNINGS.values() if name and f"- **{name}**" not in DEPRECATED] == []


def test_every_deprecated_api_is_listed() -> None:
    """Each module with a function that Wix will remove has a line on the page."""
    with_some = {module for module in MODULES if module != "apis._runtime" and functions_with(module, "deprecated")}
    assert with_some
    assert [module for module in with_some if f"- **`wixvisitor.{module}`**" not in DEPRECATED] == []


def test_nothing_else_is_listed() -> None:
    """A line goes when its name has gone."""
    lines = re.findall(r"^- \*\*(`[^`]+`)\*\*", DEPRECATED, re.MULTILINE)
    gone = [
        name for name in lines if name not in WARNINGS.values() and name.strip("`").partition(".")[2] not in MODULES
    ]
    assert gone == []


def test_its_tests_are_there() -> None:
    """Every test that the page names exists and runs, and each deprecation has one."""
    assert missing(named(PAGE), TOP) == []
    assert len(named(DEPRECATED)) == DEPRECATED.count("\n- **")


def test_a_warning_names_the_version_that_removes_it(client_id: str) -> None:
    """A name of ours says which version removes it, and that version is not there yet."""
    answer: TokenAnswer = read_answer(400, b"{}", headers={}, now=0.0)
    for use in (lambda: VisitorSession(client_id, is_refusal=lambda _: False), lambda: is_refusal(answer)):
        with pytest.warns(DeprecationWarning, match=r"version \d+\.\d+ removes it") as caught:
            use()
        version = re.search(r"version (\d+)\.(\d+)", str(caught[0].message))
        assert version is not None
        assert tuple(map(int, version.groups())) > tuple(map(int, __version__.split(".")[:2]))
