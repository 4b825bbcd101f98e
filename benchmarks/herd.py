"""How many token calls do thousands of callers make who all need a token at once?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import Answer, Verdict, nginx, node_side, sides
from benchmarks.side import CLIENT_ID, TOKENS
from wixvisitor import AccessToken, Tokens, VisitorSession

CASES: Final = ("cold", "expired")  # no visitor yet; a visitor whose access token is over


async def ours(url: str, callers: int, *, expired: bool) -> None:
    """Lets them all ask one session."""
    old = AccessToken(TOKENS.access_token.value, int(time.time()) - 10)
    tokens = Tokens(old, TOKENS.refresh_token) if expired else None
    async with VisitorSession(CLIENT_ID, base_url=url, tokens=tokens) as session:
        everyone = await asyncio.gather(*(session.generate_visitor_tokens() for _ in range(callers)))
        assert len({tokens.access_token.value for tokens in everyone}) == 1


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Counts the calls that reach the token endpoint."""
    callers = 1_000 if quick else 10_000
    answer = Answer()
    task = progress.add_task("herd", total=2 * len(CASES))
    for case in CASES:
        counts = {}
        with nginx() as server:
            asyncio.run(ours(server.url, callers, expired=case == "expired"))
            counts["wixvisitor"] = server.token_calls()
            progress.advance(task)
        with nginx() as server, sides({"@wix/sdk": node_side(server.url)}) as running:
            for name, side in running.items():
                side.ask(command="herd", callers=callers, expired=case == "expired")
                counts[name] = server.token_calls()
            progress.advance(task)
        answer.rows += [
            {"client": name, "callers": callers, "tokens": case, "token calls": count} for name, count in counts.items()
        ]
        theirs = f"@wix/sdk: {counts['@wix/sdk']:,}" if "@wix/sdk" in counts else "(no Node here)"
        what = f"token calls, {callers:,} callers, {case}"
        answer.verdicts.append(
            Verdict(what=what, beside=theirs, figure=counts["wixvisitor"], target=1, at_most=True, must_hold=True)
        )
    return answer


def draw(answer: Answer, place: Path) -> None:
    """Draws the token calls, on a logarithmic scale."""
    with drawing.chart(place / "herd", columns=len(CASES), height=1.7, sharey=True) as charts:
        for axes, look in charts:
            for axis, case in zip(axes, CASES, strict=True):
                rows = [row for row in answer.rows if row["tokens"] == case][::-1]
                colors = [look.ours if row["client"] == "wixvisitor" else look.quiet for row in rows]
                bars = axis.barh([row["client"] for row in rows], [row["token calls"] for row in rows], color=colors)
                axis.bar_label(bars, fmt=" {:,.0f}", fontsize=9, color=look.ink)
                axis.set(
                    title=f"token calls of {rows[0]['callers']:,} callers, {case}", xscale="log", xlim=(0.5, 200_000)
                )
