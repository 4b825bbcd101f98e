"""curl as a browser: another HTTP client, cookie engine and URL parser than those of Python."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs

from .real_sdk import HERE

CLOSED = (52, 55, 56)  # curl's exit codes: nothing came, or sending or receiving failed
LIMIT = "30"  # seconds for one request, on a busy machine


@attrs.frozen
class Reply:
    """An answer as it came over the wire.

    Attributes:
        status: 0 if the server has closed the connection without an answer that arrived.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Each header of this name."""
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str:
        """The only header of this name, ``""`` without one."""
        found = self.all(name)
        assert len(found) < 2, found
        return found[0] if found else ""


def replies_of(raw: bytes) -> list[Reply]:
    """The answers on a connection, one after the other; those to HEAD have to be alone."""
    found: list[Reply] = []
    while raw.startswith(b"HTTP/1."):
        head, _, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        reply = Reply(int(first.split(" ")[1]), headers, b"")
        body, raw = _body(reply, raw)
        if reply.status >= 200:
            found.append(attrs.evolve(reply, body=body))
    return found


def _body(reply: Reply, raw: bytes) -> tuple[bytes, bytes]:
    if reply.status < 200:
        return b"", raw
    if reply.get("transfer-encoding") == "chunked":
        head, body = b"", b""
        while (size := re.match(rb"([0-9A-Fa-f]+)\r\n", raw)) is not None:
            start, length = size.end(), int(size[1], 16)
            body, raw = body + raw[start : start + length], raw[start + length + 2 :]
            if not length:
                break
        return head + body, raw
    given, following = reply.get("content-length"), raw.find(b"HTTP/1.")
    length = int(given) if given else len(raw) if following < 0 else following  # else it ends with its connection
    return raw[:length], raw[length:]


@attrs.define
class Curl:
    """A browser whose cookies are in a file.

    Attributes:
        origin: the shop's.
        ca: the file with the certificate authority that the browser trusts.
        jar: the file with its cookies, in Netscape's format.
        log: gets all answers.
    """

    origin: str
    ca: Path
    jar: Path
    log: list[Reply]

    async def send(
        self,
        target: str,
        *options: str,
        body: bytes | None = None,
        keeps: bool = True,
        cookies: str | None = None,
    ) -> Reply:
        """Sends a request.

        Args:
            target: what stands in the request line, as it is; or the address of a page of the shop.
            options: curl's.
            body: a POST's.
            keeps: whether the cookies of the answer are kept.
            cookies: the Cookie header in place of the browser's own.
        """
        own = ["-b", str(self.jar)] if cookies is None else ["-H", f"Cookie: {cookies}"]
        if keeps and cookies is None:
            own += ["-c", str(self.jar)]
        if body is not None:
            own += ["-X", "POST"] * ("-X" not in options) + ["--data-binary", "@-", "-H", "Expect:"]
        replies = await self._run([*own, *options, *self._to(target)], body or b"")
        if "-c" in own:
            self._remove(
                {cookie.partition("=")[0] for cookie in replies[-1].all("set-cookie") if "Max-Age=0" in cookie}
            )
        return replies[-1]

    async def send_all(self, *requests: Sequence[str]) -> list[Reply]:
        """Sends requests one after the other, with the browser's cookies; those of the answers are not kept.

        Args:
            requests: for each a target, and curl's options.
        """
        words = [["-b", str(self.jar), *options, *self._to(target)] for target, *options in requests]
        replies = await self._run([word for given in words for word in ["--next", *given]][1:], b"")
        assert len(replies) == len(requests)
        return replies

    def _to(self, target: str) -> list[str]:
        place = ["--cacert", str(self.ca), "--resolve", f"{self.origin.removeprefix('https://')}:127.0.0.1"]
        fixed = ["-sS", "-i", "--http1.1", "--raw", "--globoff", "--path-as-is", "--max-time", LIMIT]
        return [*place, *fixed, "--request-target", target.removeprefix(self.origin), self.origin]

    async def _run(self, words: Sequence[str], content: bytes) -> list[Reply]:
        done = await anyio.run_process(["curl", "-q", *words], input=content, check=False)
        replies = replies_of(done.stdout)
        if done.returncode in CLOSED and not replies:
            return [Reply(0, [], b"")]
        assert replies, (done.returncode, done.stderr.decode(), done.stdout[:500])
        self.log.extend(replies)
        return replies

    def _remove(self, names: set[str]) -> None:
        """Removes cookies. At its end curl reads its file again, which undoes a removal that another cookie follows."""
        kept = [line for line in self.jar.read_text("utf-8").splitlines() if not names & set(line.split("\t"))]
        self.jar.write_text("\n".join([*kept, ""]), "utf-8")

    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        lines = [line.removeprefix("#HttpOnly_").split("\t") for line in self.jar.read_text("utf-8").splitlines()]
        return {line[5]: line[6] for line in lines if len(line) == 7}

    def header(self, **change: str) -> str:
        """The Cookie header, with other values for some names."""
        return "; ".join(f"{name}={value}" for name, value in {**self.cookies(), **change}.items())


async def in_node(script: str, *given: Any) -> Any:
    """What a function of ``raw.mjs`` returns for these arguments."""
    text = json.dumps({"script": script, "given": given}).encode()
    done = await anyio.run_process(["node", str(HERE / "raw.mjs")], input=text, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


async def lands(locations: Sequence[str], base: str) -> list[str]:
    """The origins to which a browser goes for these ``Location`` headers, by the URL standard."""
    found: list[str] = await in_node("lands", list(locations), base)
    return found
