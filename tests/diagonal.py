"""Which tests the ordinary run takes of those that stand under several conditions.

A condition is what a test does not vary for its own sake: the event loop, the HTTP client, the web framework, the form
of the cookie. Their whole product is for CI. The ordinary run takes each case of a test under one combination of
conditions, and each value of every condition at least once for each test. The combinations take turns. The tests of a
`StorageContract` count as cases of one test for each file: each runs over every storage, on one of the event loops.

``ONLY_IN_CI`` marks what takes seconds and shows little more than its neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import pytest

from tests.constants import IN_CI
from wixvisitor.testing import StorageContract

CONDITIONS = frozenset(
    {"anyio_backend", "backend", "client", "door", "family", "form", "framework", "kind_and_loop", "town"}
)
ONLY_IN_CI = pytest.mark.skipif(not IN_CI, reason="in CI only")
_APART = ("browser", "faults", "interop")  # marks whose tests are never thinned out


class Variant(NamedTuple):
    """A test with one set of parameters. Values are told apart by their identity: not all can be compared."""

    case: Hashable
    conditions: frozenset[tuple[str, int]]


def on_the_diagonal(items: list[pytest.Item]) -> list[pytest.Item]:
    """Returns those of the tests that the ordinary run takes, in the same order."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(_test(item), []).append(item)
    taken = {some[number] for some in tests.values() for number in chosen([_variant(item) for item in some])}
    return [item for item in items if item in taken or any(item.get_closest_marker(mark) for mark in _APART)]


def chosen(variants: Sequence[Variant]) -> list[int]:
    """Returns the numbers of the variants of one test that the ordinary run takes."""
    taken: list[int] = []
    met: Counter[Hashable] = Counter()  # how often each condition, and each combination of them, was taken

    def seldom(number: int) -> tuple[int, int]:
        conditions = variants[number].conditions
        return sum(met[condition] for condition in conditions), met[conditions]

    def take(numbers: Iterable[int]) -> None:
        taken.append(min(numbers, key=seldom))
        conditions = variants[taken[-1]].conditions
        met.update([*conditions, conditions])

    cases: dict[Hashable, list[int]] = {}
    for number, variant in enumerate(variants):
        cases.setdefault(variant.case, []).append(number)
    for numbers in cases.values():
        take(numbers)
    while missing := {one for variant in variants for one in variant.conditions if not met[one]}:
        most = max(len(missing & variant.conditions) for variant in variants)
        take(number for number, variant in enumerate(variants) if len(missing & variant.conditions) == most)
    return sorted(taken)


def parameters(item: pytest.Item) -> dict[str, Any]:
    """Returns the parameters of a test by name."""
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _test(item: pytest.Item) -> str:
    of_a_contract = isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, StorageContract)
    return item.nodeid.partition("::" if of_a_contract else "[")[0]


def _variant(item: pytest.Item) -> Variant:
    pairs = {(name, id(value)) for name, value in parameters(item).items()}
    conditions = frozenset(pair for pair in pairs if pair[0] in CONDITIONS)
    return Variant((item.nodeid.partition("[")[0], frozenset(pairs - conditions)), conditions)
