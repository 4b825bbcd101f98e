"""How fast is a GET through a session, beside the same client without it, Wix's own SDK, aiohttp and Authlib?"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Final

from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import Answer, Verdict, interleaved, nginx, node_side, python_side, ratio, server_alone, sides

LEVELS: Final = (1, 32, 100)  # requests in flight
FAST: Final = "client_middleware, aiohttp"
FAST_UVLOOP: Final = f"{FAST}, uvloop"
PEERS: Final = {  # whom each side is measured beside, and what is asked of it
    "session, httpx2": ("httpx2", 1.0),
    "session, httpx-aiohttp": ("httpx-aiohttp", 1.0),
    FAST: ("aiohttp", 0.9),
}
DEFAULT: Final = "session"
OF_DEFAULT: Final = {1: 1.0, 32: 2.3, 100: 2.3}  # beside httpx, by requests in flight


def commands(url: str) -> dict[str, list[str] | None]:
    """Returns the processes."""
    return {
        "httpx": python_side("bare httpx", url),
        "session": python_side("default httpx", url),
        "httpx2": python_side("bare httpx2", url),
        "session, httpx2": python_side("session httpx2", url),
        "httpx-aiohttp": python_side("bare httpx-aiohttp", url),
        "session, httpx-aiohttp": python_side("session httpx-aiohttp", url),
        FAST: python_side("middleware client", url),
        FAST_UVLOOP: python_side("middleware client", url, "uvloop"),
        "aiohttp": python_side("aiohttp", url),
        "aiohttp, uvloop": python_side("aiohttp", url, "uvloop"),
        "Authlib": python_side("authlib", url),
        "@wix/sdk": node_side(url),
    }


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures every side at every level."""
    rounds, seconds = (2, 0.15) if quick else (9, 0.6)
    with nginx() as server, sides(commands(server.url)) as running:
        for side in running.values():  # above all Node, which compiles what runs often
            side.ask(seconds=0.3 if quick else 2.0, in_flight=32)
        cases = [(name, level) for level in LEVELS for name in running]
        found = interleaved(
            cases,
            lambda case: running[case[0]].ask(seconds=seconds, in_flight=case[1]),
            rounds=rounds,
            progress=progress,
            what="throughput",
        )
        alone = server_alone(server.url, 32)
    rows = [
        {"client": name, "in flight": level, "requests/s": statistics.median(figures)}
        for (name, level), figures in found.items()
    ]
    answer = Answer(rows, verdicts(found))
    answer.notes.append(f"the server alone, asked by wrk: {alone:,.0f} requests/s" if alone else "wrk is not installed")
    if "@wix/sdk" not in running:
        answer.notes.append("@wix/sdk was not measured: there is no Node on this machine")
    return answer


def verdicts(found: dict[tuple[str, int], list[float]]) -> list[Verdict]:
    """Returns the figures beside their targets, 32 in flight where nothing else is said."""
    result = [
        Verdict(
            what=f"GET, {name}, {level} at once",
            beside=peer,
            figure=ratio(found[name, level], found[peer, level]),
            target=target or OF_DEFAULT[level],
        )
        for name, (peer, target) in {DEFAULT: ("httpx", 0.0), **PEERS}.items()
        for level in LEVELS
    ]
    pairs = [
        (DEFAULT, "@wix/sdk", 0.4), (FAST, "@wix/sdk", 1.0), (FAST_UVLOOP, "@wix/sdk", 1.0),
        (FAST_UVLOOP, "aiohttp, uvloop", 0.9), ("session, httpx2", "Authlib", 1.0),
    ]  # fmt: skip
    return result + [
        Verdict(what=f"GET, {name}", beside=peer, figure=ratio(found[name, 32], found[peer, 32]), target=target)
        for name, peer, target in pairs
        if (peer, 32) in found
    ]


def draw(answer: Answer, place: Path) -> None:
    """Draws every client at every level."""
    rates = {(row["client"], row["in flight"]): row["requests/s"] for row in answer.rows}
    names = list(dict.fromkeys(row["client"] for row in answer.rows))[::-1]
    with drawing.chart(place / "throughput", columns=len(LEVELS), height=4.2, sharey=True) as charts:
        for axes, look in charts:
            colors = [look.ours if name.startswith(("session", "client_middleware")) else look.quiet for name in names]
            for axis, level in zip(axes, LEVELS, strict=True):
                bars = axis.barh(names, [rates[name, level] for name in names], color=colors)
                axis.bar_label(bars, fmt=" {:,.0f}", fontsize=8, color=look.ink)
                axis.set_title(f"requests a second, {level} in flight")
                axis.margins(x=0.18)
                axis.locator_params(axis="x", nbins=4)
