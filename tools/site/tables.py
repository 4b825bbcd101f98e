"""Tables and code of docstrings, which are written in reStructuredText's form, as Markdown. Pure."""

from __future__ import annotations

import re

_RULE = re.compile(r"^ *=+(?: +=+)+$")


def as_markdown(text: str) -> str:
    """Returns a docstring whose simple tables, and whose ``::`` before code, are Markdown.

    Raises:
        ValueError: a table has no rule at its end; the message has the docstring's first line.
    """
    lines, done = text.split("\n"), list[str]()
    while lines:
        line = lines.pop(0)
        if not _RULE.match(line):
            done.append(line)
            continue
        ends = [number for number, other in enumerate(lines) if _RULE.match(other) and _is_together(lines[:number])]
        if not ends:
            raise ValueError(f"a table of this docstring has no rule at its end: {text.partition(chr(10))[0]}")
        end = ends[-1]
        done += _table(line, lines[:end])
        lines = lines[end + 1 :]
    return re.sub(r"(?m)^( *\S.*):: *$", r"\1:", re.sub(r"(?m)^ *::\n", "", "\n".join(done)))


def _is_together(lines: list[str]) -> bool:
    return all(line.strip() for line in lines)


def _table(rule: str, lines: list[str]) -> list[str]:
    """Returns a table between two rules. A rule within it ends its head; a row whose first cell is empty goes on."""
    columns = [found.span() for found in re.finditer("=+", rule)]
    rows, head = list[list[str]](), 0
    for line in lines:
        if _RULE.match(line):
            head = len(rows)
            continue
        cells = [
            line[start : None if place == len(columns) - 1 else columns[place + 1][0]].strip()
            for place, (start, _) in enumerate(columns)
        ]
        if not cells[0] and len(rows) > head:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    top = rows[0] if head else [""] * len(columns)
    shown = [top, ["---"] * len(columns), *rows[head:]]
    indent = " " * columns[0][0]
    return [f"{indent}| {' | '.join(row)} |" for row in shown]
