"""Proxy variables as desktops and companies set them."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from wixvisitor import ConfigurationError, Tokens, VisitorSession
from wixvisitor._http.own_client import own_client
from wixvisitor._http.proxies import Bypass, from_environment

WIX = "https://www.wixapis.com/x"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("no_proxy", "url", "expected"),
    [
        ("[::1]", "https://[::1]/", True),
        ("::1", "https://[::1]:8443/", True),
        ("[::1]:8443", "https://[::1]:8443/", True),
        ("[::1]:8443", "https://[::1]/", False),
        ("fe80::/10", "https://[fe80::1]/", True),
        ("fe80::/10", "https://[::1]/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.1/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://wix.com/", False),
        ("127.0.0.1", "https://127.0.0.1:8443/", True),
        ("127.0.0.1:443", "https://127.0.0.1/", True),
        ("wix.com", "https://wix.com/", True),
        ("wix.com", "https://www.WIX.com/", True),
        ("wix.com", "https://notwix.com/", False),
        (".wix.com", "https://www.wix.com/", True),
        (".wix.com", "https://wix.com/", False),
        ("*.svc", "https://a.b.svc/", True),
        ("*.svc", "https://svc/", False),
        ("a.test:8443", "https://a.test:8443/", True),
        ("a.test:8443", "https://a.test/", False),
        ("https://a.test", "https://a.test/", True),
        ("http://a.test", "https://a.test/", False),
        ("bücher.test", "https://xn--bcher-kva.test/", True),
        ("localhost, ,*.svc  .local", "https://a.local/", True),
        ("a.test.", "https://a.test/", True),
        ("[::1, ]::[, /, :, @, ://, [x]:y, a b", "https://wix.com/", False),
        ("a.test,*", "https://wix.com/", True),
        ("", "https://wix.com/", False),
    ],
)
def test_what_goes_around(no_proxy: str, url: str, expected: bool, family: ModuleType) -> None:  # noqa: FBT001
    """``NO_PROXY`` takes names, addresses, networks and ports; what makes no sense covers nothing."""
    assert Bypass(no_proxy).covers(family.URL(url)) is expected


def test_a_client_goes_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is made, and takes the proxy or its own way, as the variables say."""
    monkeypatch.setenv("HTTPS_PROXY", "127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost,::1,[::1],fe80::/10,10.0.0.0/8,*.svc, .local")
    client = own_client()
    url = type(client.base_url)
    assert client._transport_for_url(url("https://10.9.9.9/")) is client._transport
    assert client._transport_for_url(url("http://wix.com/")) is client._transport
    assert client._transport_for_url(url(WIX)) is not client._transport


@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://me:secret@127.0.0.1:9",
        "socks4://me:secret@127.0.0.1:9",
        "socks5://me:secret@127.0.0.1:9",
        "SOCKS://127.0.0.1:9/",
        "http://me:sec#ret@127.0.0.1:9",
        "http://me:secret@[::1",
        "http://me:secret@127.0.0.1:port",
        "http://",
        "http:127.0.0.1:9",
        "http://me:secret@" + "x" * 300,
        "secret://secret://secret",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_used(proxy: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what would go through it fails, with the variable's name and nothing of what it holds."""
    monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "direct.test")
    client = own_client()
    url = type(client.base_url)
    if not proxy.endswith("xxx"):  # a name that is too long is for the resolver to say
        with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
            client._transport_for_url(url(WIX))
        assert "secret" not in str(caught.value)
    assert client._transport_for_url(url("https://direct.test/")) is client._transport


def test_a_proxy_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desktop's ``ALL_PROXY=socks://…`` stands beside proxies for http and https, which are used."""
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9/")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9/")
    client = own_client()
    assert client._transport_for_url(type(client.base_url)(WIX)) is not client._transport


def test_socks(monkeypatch: pytest.MonkeyPatch, family: ModuleType) -> None:
    """With its package, ``socks://`` is SOCKS 5."""
    monkeypatch.setenv("ALL_PROXY", "socks://me:secret@127.0.0.1:9/")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: SimpleNamespace())
    proxy = from_environment(family.Proxy)[0]["all://"]
    assert (proxy.url.scheme, proxy.url.host, proxy.auth) == ("socks5", "127.0.0.1", ("me", "secret"))


@pytest.mark.anyio
@pytest.mark.parametrize("variables", [{"ALL_PROXY": "socks5://me:secret@127.0.0.1:9"}, {"https_proxy": "x://y"}])
async def test_a_session_says_so(
    variables: dict[str, str], client_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Token calls and requests raise the ConfigurationError; nothing is logged as a fault of ours."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with VisitorSession(client_id) as session:
        for call in (session.generate_visitor_tokens(), session.get("/x")):
            with pytest.raises(ConfigurationError, match=f"^{next(iter(variables))}: "):
                await call
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"HTTP_PROXY": "http://me:secret@127.0.0.1:port"},
        {"NO_PROXY": "[::1]", "HTTPS_PROXY": "http://127.0.0.1:9"},
    ],
)
async def test_a_client_that_its_owners_function_cannot_make(
    variables: dict[str, str], client_id: str, monkeypatch: pytest.MonkeyPatch, family: ModuleType
) -> None:
    """What httpx says of a variable when a given function makes its client is told by the variable's name, too."""
    if "NO_PROXY" in variables and family.__name__ == "httpx2":
        pytest.skip("httpx2 reads it")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with VisitorSession(client_id, client=family.AsyncClient) as session:
        for call in (session.generate_visitor_tokens(), session.get("/x")):
            with pytest.raises(ConfigurationError, match=f"^{next(iter(variables))}: ") as caught:
                await call
            assert "secret" not in str(caught.value)


@pytest.mark.anyio
async def test_what_is_wrong_in_the_function_itself(client_id: str, visitor: Tokens) -> None:
    """Another mistake of the function's is raised as it is."""

    def wrong() -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await VisitorSession(client_id, client=wrong, tokens=visitor).get("/x")
