"""Looks at every state that a model can reach, breadth first.

The first way found to a broken invariant is therefore a shortest one. It knows nothing of the model, and is not part of
the wheel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

import attrs

S = TypeVar("S", bound=Hashable)  # a state
T = TypeVar("T")  # a step


@attrs.frozen
class Model(Generic[S, T]):
    """What is searched.

    Attributes:
        first: the state that everything starts from.
        steps: every step that can be taken in a state, and where it leads.
        broken: the invariant that going from one state to another breaks, ``""`` if none.
        canonical: one name for all states that differ only in who is who.
        is_end: whether everybody has what they came for.
        is_free: whether this step may be relied on to come to an end: it is no failure, and no help from outside.
    """

    first: S
    steps: Callable[[S], Iterable[tuple[T, S]]]
    broken: Callable[[S, T, S], str]
    canonical: Callable[[S], S]
    is_end: Callable[[S], bool]
    is_free: Callable[[T], bool]


class Found(NamedTuple, Generic[S, T]):
    """How much there was to see, and a shortest way to a broken invariant: each step, and the state after it."""

    states: int
    transitions: int
    depth: int
    seconds: float
    breaks: str = ""
    trace: tuple[tuple[T, S], ...] = ()


def explore(model: Model[S, T], told: Callable[[int, int], object] = lambda _depth, _states: None) -> Found[S, T]:
    """Returns what is found. ``told`` hears of each depth that is done, and of how many states there are by then.

    The invariants come first. If all hold, it looks for a state from which no free steps lead to an end: ``ENDS``.
    """
    began, start = time.perf_counter(), model.canonical(model.first)
    numbers, parents, before = {start: 0}, [-1], [[0]]  # for each state: a first way there, and all by free steps
    layer, depth, transitions = [start], 0, 0

    def found(depth: int, breaks: str, last: int) -> Found[S, T]:
        trace = _trace(model, [*numbers], parents, last, breaks) if breaks else ()
        return Found(len(numbers), transitions, depth, time.perf_counter() - began, breaks, trace)

    while layer:
        following = []
        for state in layer:
            number = numbers[state]
            for step, after in model.steps(state):
                transitions += 1
                name = model.canonical(after)
                known = numbers.setdefault(name, len(parents))
                if known == len(parents):
                    parents.append(number)
                    before.append([])
                    following.append(name)
                if model.is_free(step):
                    before[known].append(number)
                if breaks := model.broken(state, step, after):
                    return found(depth + 1, breaks, number)
        depth, layer = depth + bool(following), following
        told(depth, len(numbers))
    stuck = _stuck([model.is_end(state) for state in numbers], before)
    return found(depth, "", 0) if stuck is None else found(depth, "ENDS", stuck)


def _stuck(is_end: list[bool], before: list[list[int]]) -> int | None:
    """Returns the first state from which no free steps lead to an end, None if there is none."""
    can_end = is_end[:]
    todo = [number for number, is_it in enumerate(is_end) if is_it]
    while todo:
        for number in before[todo.pop()]:
            if not can_end[number]:
                can_end[number] = True
                todo.append(number)
    return None if all(can_end) else can_end.index(False)


def _trace(model: Model[S, T], states: list[S], parents: list[int], last: int, breaks: str) -> tuple[tuple[T, S], ...]:
    """Returns the way to a state, walked anew so that everybody keeps one name, and the step that breaks it."""
    goals = []
    while parents[last] >= 0:
        goals.append(states[last])
        last = parents[last]
    now, trace = model.first, []
    for goal in reversed(goals):
        trace.append(next(pair for pair in model.steps(now) if model.canonical(pair[1]) == goal))
        now = trace[-1][1]
    trace += [pair for pair in model.steps(now) if model.broken(now, *pair) == breaks][:1]
    return tuple(trace)
