"""The soak's schedule, and that its verdict can be bad; ``python -m tests.faults.soak`` is the soak itself."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from tests.faults import chaos
from tests.faults.clients import kind_after
from tests.faults.measuring import MOST_DESCRIPTORS, MOST_MIB, Sample, growth
from tests.faults.recovery import Verdict
from tests.faults.soak import Soak
from tests.faults.truth import SHOPPER, Truth
from tests.faults.worker import Finished
from wixvisitor.testing._calls import TOKEN_PATH, Call

KEYS = ("a", "b")


def shopping(key: str, visitor: str, at: float) -> Call:
    """A request that was answered as this visitor."""
    return _call("/ecom/v2/carts/current", visitor, at, query={SHOPPER: key})


def minting(visitor: str, at: float) -> Call:
    """A token call that made this visitor."""
    return _call(TOKEN_PATH, visitor, at, body=b'{"grantType": "anonymous"}')


def _call(path: str, visitor: str, at: float, **more: Any) -> Call:
    arguments = {"query": {}, "body": b"", "headers": {}, **more}
    call = Call(method="POST", path=path, received_at=at, request_id="", **arguments)
    call.visitor_id = visitor
    return call


@pytest.fixture
def truth() -> Truth:
    """Two shoppers who have come at 0, each with a visitor since 1."""
    truth = Truth(patience=5.0)
    for key in KEYS:
        truth.expect(key, 0.0)
    truth.read([minting("A", 0.5), minting("B", 0.5), shopping("a", "A", 1.0), shopping("b", "B", 1.0)])
    assert truth.lost == []
    return truth


def test_another_visitor_under_a_key_is_a_loss(truth: Truth) -> None:
    """Whoever is answered as somebody else was lost."""
    truth.read([shopping("a", "B", 2.0)])
    assert len(truth.lost) == 1


def test_a_mint_for_nobody_is_a_loss(truth: Truth) -> None:
    """A mint is fine as long as a stopped process may still be about to make it, and never later."""
    truth.read([minting("C", 5.9)])
    assert truth.lost == []
    truth.read([minting("D", 6.1)])
    assert len(truth.lost) == 1


def test_another_visitor_in_the_store_is_a_loss(truth: Truth) -> None:
    """The record has to be whose requests were answered; a missing one is a loss as well."""
    truth.compare({"a": "A", "b": "B"})
    assert truth.lost == []
    truth.compare({"a": "B"})
    assert len(truth.lost) == 2


def test_whom_wix_refused_may_be_replaced_once(truth: Truth) -> None:
    """A refusal allows one other visitor under its key, whose first answers may mix with the last of the old one."""
    truth.refuse("a", 10.0)
    truth.read([shopping("a", "A", 10.1), minting("C", 10.2), shopping("a", "C", 10.3), shopping("a", "A", 10.4)])
    assert truth.lost == []
    assert truth.replaced == 1
    truth.read([shopping("b", "C", 11.0), shopping("a", "D", 11.0)])
    assert len(truth.lost) == 2


def samples(memory: Any, descriptors: Any) -> list[Sample]:
    """A process over 100 s, by functions of the time."""
    return [Sample(float(at), "worker 0", memory(at), descriptors(at), float(at)) for at in range(101)]


def test_what_is_flat() -> None:
    """Memory that is taken in the first quarter, and descriptors that come and go, are no growth."""
    found = growth(
        samples(lambda at: min(40 + at, 60), lambda at: 20 + (30 if 10 < at < 90 else 0)), "worker 0", calm=10
    )
    assert found.complaints == []


@pytest.mark.parametrize(
    ("memory", "descriptors"),
    [
        (lambda at: 40 + at * (MOST_MIB / 50), lambda at: 20),
        (lambda at: 40, lambda at: 20 + at * MOST_DESCRIPTORS // 80),
    ],
    ids=["memory", "descriptors"],
)
def test_what_grows(memory: Any, descriptors: Any) -> None:
    """Memory or descriptors that never stop growing are told of."""
    assert len(growth(samples(memory, descriptors), "worker 0", calm=10).complaints) == 1


@pytest.mark.parametrize(
    ("seconds", "answers", "renewals", "faults", "judgements", "few"),
    [
        (60.0, 601, 61, 13, 4, []),
        (60.0, 600, 61, 13, 4, ["answers"]),
        (60.0, 601, 60, 13, 4, ["renewals"]),
        (60.0, 601, 61, 12, 4, ["faults"]),
        (60.0, 601, 61, 13, 3, ["judgements"]),
        (0.0, 0, 0, 0, 0, ["answers", "renewals", "faults", "judgements"]),
    ],
)
def test_too_little_to_tell(
    seconds: float, answers: int, renewals: int, faults: int, judgements: int, few: list[str]
) -> None:
    """A soak in which nothing was wrong is wrong if too little happened, or was judged, for its time."""
    quiet = samples(lambda at: 40, lambda at: 20)
    soak = Soak(1, seconds, samples=[*quiet, *(attrs.evolve(one, name="Wix") for one in quiet)])
    soak.happened["SIGKILL"], soak.judgements = faults, judgements
    worker = SimpleNamespace(number=0, tally={}, wrong=[], finish=lambda: Finished({}, 0.0, [], 0))
    wix = SimpleNamespace(ask=lambda *_, **__: {"lost": [], "answers": answers, "renewals": renewals})
    valkey, on_trio = SimpleNamespace(url="redis://127.0.0.1:1"), ("redis", {"url_or_client": "redis://127.0.0.1:1"})
    town: Any = SimpleNamespace(workers=[worker], wix=wix, valkey=valkey, on_trio=on_trio)
    asyncio.run(soak._judge(town, ()))
    assert [text.split()[2].strip(",") for text in soak.wrong] == few


def test_a_visitor_that_is_not_served_is_wrong() -> None:
    """After each gust of faults all processes are asked, with those whom it was about; what they find is wrong."""
    asked = []

    def judge(keys: tuple[str, ...]) -> Verdict:
        asked.append(keys)
        return Verdict({"a": 1.0}, 1.0, ["b is not served"])

    workers = [SimpleNamespace(number=number, name="default, asyncio", judge=judge) for number in range(2)]
    town: Any = SimpleNamespace(workers=workers, wix=SimpleNamespace(ask=lambda *_, **__: None))
    kinds = ("Wix: access tokens revoked", "Wix: visitor refused")
    gust = [chaos.Trouble(0.0, kind, 1.0, 0, key) for kind, key in zip(kinds, "ab", strict=True)]
    soak = Soak(1, 60.0)
    asyncio.run(soak._suffer(town, tuple(gust), 0.0))
    assert asked == [("a", "b")] * 2
    assert (soak.judgements, soak.judged, soak.late) == (1, {"default, asyncio": 4}, 1.0)
    assert soak.wrong == [f"default, asyncio, after {', '.join(kinds)}: b is not served"] * 2


def test_the_schedule_is_the_seeds() -> None:
    """A seed makes one schedule, in which everything happens and worker 0 is never killed."""

    def plan(seed: int) -> list[tuple[chaos.Trouble, ...]]:
        return list(itertools.islice(chaos.gusts(seed, workers=5, keys=KEYS), 20))

    assert plan(1) == plan(1) != plan(2)
    troubles = [trouble for gust in plan(1) for trouble in gust]
    assert {trouble.kind for trouble in troubles} == set(chaos.KINDS)
    assert {trouble.worker for trouble in troubles} == set(range(5))
    assert 0 not in {trouble.worker for trouble in troubles if trouble.kind == "SIGKILL"}


def test_processes_take_turns_with_clients() -> None:
    """Each time that a process is started it has the next kind of client that its event loop can have."""
    names = ["default"]
    for _ in range(3):
        names.append(kind_after(names[-1], "trio"))
    assert names == ["default", "httpx, 5 connections", "httpx2", "default"]
    assert kind_after("httpx2", "asyncio") == "httpx-aiohttp"
