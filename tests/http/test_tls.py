"""One TLS context for the process."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import certifi
import httpx
import pytest
import trustme

from tests.constants import CLIENT_ID
from tests.raw_server import raw_server, saying
from wixvisitor import Tokens, VisitorSession
from wixvisitor._http import tls
from wixvisitor.testing import FakeWix


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has made no context, with no certificates named."""
    monkeypatch.setattr(tls, "_made", None)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_there_is_one() -> None:
    """Threads that ask at once get the same context, and so does who asks later."""
    found: list[ssl.SSLContext] = []
    threads = [threading.Thread(target=lambda: found.append(tls.shared_context())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(context) for context in [*found, tls.shared_context()]}) == 1
    assert found[0].verify_mode is ssl.CERT_REQUIRED
    assert found[0].check_hostname


def test_other_certificates_are_another_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the environment names another file the context is made anew."""
    first = tls.shared_context()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    second = tls.shared_context()
    assert second is not first
    assert tls.shared_context() is second


def test_a_failure_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Certificates that cannot be read now may be readable the next time."""
    place = tmp_path / "ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with pytest.raises(FileNotFoundError):
        tls.shared_context()
    place.write_bytes(Path(certifi.where()).read_bytes())
    assert tls.shared_context() is tls.shared_context()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_sessions_share_it_over_https(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visitor: Tokens, still: FakeWix
) -> None:
    """Sessions with a client each make one context between them, at the first https request."""
    ca, made = trustme.CA(), list[object]()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    making = httpx.create_ssl_context

    def counted(*arguments: object, **named: object) -> ssl.SSLContext:
        if not arguments and not named:
            made.append(1)
        return making(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "create_ssl_context", counted)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(server)
    answer = saying("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")
    async with raw_server(answer) as plain, raw_server(answer, context=server) as secure:
        for _ in range(3):
            async with VisitorSession(
                CLIENT_ID,
                base_url=plain.url,
                allowed_origins=[secure.url],
                tokens=visitor,
                clock=still.now,
            ) as session:
                assert (await session.get("/a")).status_code == 200
                assert len(made) <= 1
                assert (await session.get(f"{secure.url}/a")).status_code == 200
    assert len(made) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_that_nobody_vouches_for(visitor: Tokens, still: FakeWix) -> None:
    """A certificate of an unknown authority is refused."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    async with (
        raw_server(context=server) as secure,
        VisitorSession(CLIENT_ID, base_url=secure.url, tokens=visitor, clock=still.now) as session,
    ):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await session.get("/a")
