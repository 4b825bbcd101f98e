"""Ways through the model, for the real code to go."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.renewal_model.model import Config, State, Step, first, model, steps
from tests.renewal_model.search import Model

Way = list[tuple[Step, State]]


def written(way: Way) -> str:
    """Returns one line for each step."""
    return "\n".join(str(step) for step, _ in way)


def by_chance(config: Config, chance: random.Random) -> Way:
    """Returns a way at most 60 steps long."""
    state, way = first(config), []
    while len(way) < 60 and (choices := list(steps(state, config))):
        way.append(chance.choice(choices))
        state = way[-1][1]
    return way


def over_every_step(config: Config) -> list[Way]:
    """Returns ways from the start that take, together, each step that the model can take; who is who is all one."""
    whole = model(config)
    there: dict[State, tuple[State, Way]] = {
        whole.canonical(whole.first): (whole.first, [])
    }  # and a shortest way there
    left: dict[State, set[object]] = {}  # what no way has done
    for name in (names := [*there]):
        state, way = there[name]
        left[name] = set()
        for step, after in whole.steps(state):
            following = whole.canonical(after)
            left[name].add((step.at, step.how, following))
            if following not in there:
                there[following] = after, [*way, (step, after)]
                names.append(following)
    ways = []
    for name in reversed(names):
        while left[name]:
            now, way = there[name]
            ways.append([*way, *_on_from(now, whole, left)])
    return ways


def _on_from(now: State, whole: Model[State, Step], left: dict[State, set[object]]) -> Iterator[tuple[Step, State]]:
    """Yields steps that no way has taken, until there are none."""
    while todo := left[whole.canonical(now)]:
        pairs = ((pair, (pair[0].at, pair[0].how, whole.canonical(pair[1]))) for pair in whole.steps(now))
        pair, done = next((pair, done) for pair, done in pairs if done in todo)
        todo.discard(done)
        yield pair
        now = pair[1]
