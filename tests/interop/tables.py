"""The tables that set wixvisitor beside the real @wix/sdk, for the README and docs/explanation/beside-wix-sdk.md.

`python -m tests.interop.tables` prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

import anyio

from . import compare, compare_logins
from .compare_logins import end, ending, told

# The README's: one of each cause. The page has all.
SHORT = (
    "100 calls at once, no visitor yet",
    "token expired, one 503 from the token endpoint",
    "member's refresh token refused",
    "a login ends while one call renews the token",
    "a logout, and Wix answers 503",
)
Line = Sequence[str]
R = TypeVar("R")


def pairs(rows: Sequence[R]) -> list[tuple[R, R]]:
    """For each situation the SDK's row and ours."""
    return list(zip(rows[::2], rows[1::2], strict=True))


def tables(shopping: Sequence[compare.Row], logins: Sequence[compare_logins.Row]) -> dict[str, str]:
    """The tables by their marks."""
    clients = ("situation", *compare.versions())
    shoppers = [(sdk.situation, compare.cell(sdk), compare.cell(ours)) for sdk, ours in pairs(shopping)]
    differ = [pair for pair in pairs(logins) if end(pair[0]) != end(pair[1])]
    alike = [pair for pair in pairs(logins) if pair not in differ]
    members = [(sdk.situation, _cell(sdk), _cell(ours)) for sdk, ours in differ]
    told_alike = [(sdk.situation, ending(sdk), told(sdk), told(ours)) for sdk, ours in alike]
    return {
        "interop table": _markdown(clients, shoppers),
        "login table": _markdown(clients, members),
        "alike table": _markdown(("situation", "both end", *(f"{name} says" for name in clients[1:])), told_alike),
        "sdk table": _markdown(clients, [line for name in SHORT for line in (*shoppers, *members) if line[0] == name]),
    }


def table_in(text: str, mark: str) -> str:
    """The table that a page has between two marks; ``""`` if a mark is missing."""
    _, begin, rest = text.partition(f"<!-- {mark} -->\n")
    table, end_mark, _ = rest.partition(f"<!-- /{mark} -->")
    return table if begin and end_mark else ""


def _cell(row: compare_logins.Row) -> str:
    return f"{ending(row)}; the app gets {told(row)}" if row.told else ending(row)


def _markdown(heads: Line, lines: Sequence[Line]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ["---"] * len(heads), *lines))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    for mark, table in tables(anyio.run(compare.compare), anyio.run(compare_logins.compare)).items():
        sys.stdout.write(f"<!-- {mark} -->\n{table}<!-- /{mark} -->\n\n")
