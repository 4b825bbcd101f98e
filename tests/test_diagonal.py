"""What the ordinary run takes of the tests that stand under several conditions."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tests.diagonal import Variant, chosen


def _product(cases: int, *conditions: int) -> list[Variant]:
    every = product(range(cases), *(range(count) for count in conditions))
    return [
        Variant(case, frozenset((str(name), value) for name, value in enumerate(values))) for case, *values in every
    ]


@given(st.integers(1, 9), st.lists(st.integers(1, 6), max_size=3), st.randoms())
def test_nothing_is_left_out_for_good(cases, conditions, random):
    """Each case is taken, and each value of every condition, in no more tests than that needs."""
    every = _product(cases, *conditions)
    random.shuffle(every)
    taken = [every[number] for number in chosen(every)]
    assert {variant.case for variant in taken} == set(range(cases))
    assert {one for variant in taken for one in variant.conditions} == {
        one for variant in every for one in variant.conditions
    }
    assert len(taken) == max([cases, *conditions])


def test_combinations_take_turns():
    """Two event loops and two clients are taken in all four combinations, where there are four cases."""
    assert len({variant.conditions for variant in map(_product(4, 2, 2).__getitem__, chosen(_product(4, 2, 2)))}) == 4
