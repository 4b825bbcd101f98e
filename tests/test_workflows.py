"""What the workflows of GitHub and the rest of the project agree on. `nox -s workflows` checks the workflows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
FILES = {path.name: path.read_text("utf-8") for path in sorted((TOP / ".github").rglob("*.yml"))}

pytestmark = pytest.mark.skipif(not FILES, reason="a source distribution has no .github")


def test_each_action_is_pinned_once() -> None:
    """Each action has a commit's hash, with its version as a comment, and the same one in all workflows."""
    used = [line for text in FILES.values() for line in re.findall(r"uses: (.+)", text) if not line.startswith("./")]
    pins = {re.fullmatch(r"([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line) for line in used}
    assert None not in pins
    assert len({pin[1] for pin in pins}) == len({pin.groups() for pin in pins}) >= 8


def test_which_pythons_are_said_to_work() -> None:
    """The metadata has a classifier for each Python that has to pass, and for no other; the oldest is the least."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    (matrix,) = re.findall(r"\n +python: \[(.+)\]", FILES["tests.yml"])
    tried = re.findall(r'"([\d.]+)"', matrix)
    untried = re.findall(r"continue-on-error: \$\{\{ matrix\.python == '([\d.]+)' \}\}", FILES["tests.yml"])
    classified = [name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert classified == [python for python in tried if python not in untried]
    assert project["requires-python"] == f">={tried[0]}"


def test_no_address_is_named() -> None:
    """No workflow names a host: trusted publishing needs no registry's, and the actions are pinned by their hash."""
    assert [name for name, text in FILES.items() if "://" in text] == []
