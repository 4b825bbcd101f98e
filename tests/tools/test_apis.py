"""`wixvisitor.apis` is what the generator makes of the committed description, and nothing else."""

from __future__ import annotations

import json

from tools.apis.__main__ import TOP, generated, stale
from tools.apis.description import HERE


def test_committed_is_generated() -> None:
    """Each generated file is as the generator writes it, and none is left over: otherwise run `nox -s apis`."""
    assert list(stale(dict(generated()))) == []


def test_every_method_is_listed() -> None:
    """The description has the methods of methods.txt, each with a function."""
    listed, module = set(), ""
    for line in (HERE / "methods.txt").read_text("utf-8").splitlines():
        if line.startswith("  "):
            listed.add((module, line.strip()))
        elif line and not line.startswith("#"):
            module = line.split()[0]
    described = json.loads((HERE / "description.json").read_text("utf-8"))["modules"]
    assert {(name, method) for name, one in described.items() for method in one["methods"]} == listed
    assert len(listed) > 140


def test_no_sentence_of_wix() -> None:
    """The description holds names and links only: no text in it has two words, but for a package and its version."""
    texts: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            texts.extend(value)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            texts.append(value)

    walk(json.loads((HERE / "description.json").read_text("utf-8")))
    assert {text for text in texts if " " in text and not text.startswith("@wix/")} == set()
    assert (TOP / "tools" / "apis") == HERE
