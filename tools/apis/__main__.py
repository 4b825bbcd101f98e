"""``python -m tools.apis`` writes everything that is generated; ``--check`` says what differs from it, and fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.apis.answers import answer_types, shared_answer_types
from tools.apis.arguments import ArgumentTypes, argument_types, shared_argument_types
from tools.apis.description import Module, Shapes, read_description
from tools.apis.fakes import TYPES, method_table, typed_answers
from tools.apis.functions import functions
from tools.apis.lists import with_lists
from tools.apis.spelling import GENERATED

TOP: Final = Path(__file__).parents[2]
APIS: Final = "wixvisitor/apis"


def generated() -> Iterator[tuple[str, str]]:
    """Yields each generated file: its path and its text."""
    shared, modules = read_description()
    yield f"{APIS}/shared_types.py", "".join(shared_answer_types(shared, modules))
    yield f"{APIS}/shared_arguments.py", "".join(shared_argument_types(shared, modules))
    for area in sorted({one.name.partition("/")[0] for one in modules}):
        yield f"{APIS}/{area}/__init__.py", f'"""Wix\'s APIs: {area}.\n\n{GENERATED}\n"""\n'
    for one in modules:
        types = ArgumentTypes(one)
        yield f"{APIS}/{one.name}.py", "".join(functions(one, types))
        answers = answer_types(one, "from wixvisitor.apis import shared_types as shared")
        yield f"{APIS}/{one.name}_types.py", "".join(answers)
        if types.used:
            arguments = argument_types(types, "from wixvisitor.apis import shared_arguments as shared")
            yield f"{APIS}/{one.name}_arguments.py", "".join(arguments)
    yield "docs/reference/apis.md", with_lists(TOP / "docs/reference/apis.md", modules)
    yield from for_the_fake(shared, modules)


def for_the_fake(shared: Shapes, modules: tuple[Module, ...]) -> Iterator[tuple[str, str]]:
    """Yields the files of ``FakeWix``, which knows nothing of ``wixvisitor.apis``."""
    place = TYPES.replace(".", "/")
    yield "wixvisitor/testing/_api_methods.py", "".join(method_table(modules))
    yield "wixvisitor/testing/_api_answers.py", "".join(typed_answers(modules))
    yield f"{place}/__init__.py", f'"""The types of the answers that tests give.\n\n{GENERATED}\n"""\n'
    yield f"{place}/shared.py", "".join(shared_answer_types(shared, modules, partial=True))
    for one in modules:
        text = answer_types(one, f"from {TYPES} import shared", partial=True)
        yield f"{place}/{one.name.replace('/', '_')}.py", "".join(text)


def stale(files: dict[str, str]) -> Iterator[str]:
    """Yields the paths that differ from what is generated, and generated files that no module needs any more."""
    for path, text in files.items():
        if not (TOP / path).exists() or (TOP / path).read_text("utf-8") != text:
            yield path
    for found in sorted((TOP / "wixvisitor").rglob("*.py")):
        path = found.relative_to(TOP).as_posix()
        if path not in files and GENERATED in found.read_text("utf-8"):
            yield path


def main(arguments: list[str]) -> int:
    """Writes the files, or compares them."""
    files = dict(generated())
    changed = list(stale(files))
    for path in changed:
        print(path)
        if "--check" in arguments:
            continue
        if path in files:
            (TOP / path).parent.mkdir(parents=True, exist_ok=True)
            (TOP / path).write_text(files[path], "utf-8", newline="\n")
        else:
            (TOP / path).unlink()
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
