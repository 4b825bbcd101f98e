"""The pytest plugin, in test sessions of its own: what passes with it, what fails, and what is said then."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx
import pytest

from wixvisitor.testing import assert_no_visitor_cookie, assert_visitor_cookie

pytest_plugins = ["pytester"]

README = Path(__file__).parent.parent.parent / "README.md"
INI = "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"


@pytest.fixture
def inner(pytester: pytest.Pytester) -> Any:
    """Runs a test file in a session of its own."""
    pytester.makeini(INI)

    def run(source: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess()

    return run


def test_pytest_finds_it():
    """The plugin is an entry point, so that installing wixvisitor is all there is to do."""
    found = {entry.name: entry.value for entry in entry_points(group="pytest11")}
    assert found["wixvisitor"] == "wixvisitor.testing.plugin"


def test_it_is_light():
    """A run that does not use it imports neither servers nor frameworks for it."""
    program = (
        "import sys, wixvisitor.testing.plugin\n"
        "heavy = {'starlette', 'uvicorn', 'graphql', 'fastapi', 'aiohttp', 'cryptography'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_the_readme_example(inner):
    """The README's test of a web app runs as it stands."""
    (block,) = (
        code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "visitor_pool" in code
    )
    inner(block).assert_outcomes(passed=1)


def test_an_ordinary_test(inner):
    """A session, its clock and the fake work together, with and without an event loop, on both of them."""
    inner("""
        import pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_session(visitor_session, wix_clock, fake_wix):
            before = await visitor_session.generate_visitor_tokens()
            began = wix_clock.now()
            wix_clock.advance(5 * 3600)
            after = await visitor_session.generate_visitor_tokens()
            assert after.refresh_token == before.refresh_token
            assert after.access_token != before.access_token
            assert wix_clock.now() == began + 5 * 3600
            assert len(fake_wix.visitors) == 1

        @pytest.mark.anyio
        async def test_pool(visitor_pool):
            anna, ben = await visitor_pool.session("anna"), await visitor_pool.session("ben")
            assert await anna.generate_visitor_tokens() != await ben.generate_visitor_tokens()

        def test_served(wix_url, wix_client_id):
            import httpx
            body = {"clientId": wix_client_id, "grantType": "anonymous"}
            assert httpx.post(f"{wix_url}/oauth2/token", json=body).status_code == 200
    """).assert_outcomes(passed=5)


def test_the_clock_stands(inner):
    """The clock moves when a test says so, and not by itself."""
    inner("""
        def test_it(wix_clock, fake_wix):
            assert wix_clock.now() == fake_wix.now() == wix_clock.now()
            assert wix_clock.now() % 1 == 0
    """).assert_outcomes(passed=1)


def test_unmatched_calls_fail_the_test(inner):
    """A call that FakeWix does not know is an error at the end, which names it."""
    result = inner("""
        import httpx

        def test_it(wix_url):
            httpx.get(f"{wix_url}/ecom/v9/wishes")
    """)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*FakeWix knows no route for: GET /ecom/v9/wishes*"])


def test_what_is_left_open_fails_the_test(inner):
    """A session with a client of its own that nobody closes is an error at the end, which says what to do."""
    result = inner("""
        import pytest
        from wixvisitor import VisitorPool, VisitorSession

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        @pytest.mark.filterwarnings("ignore")
        async def test_forgetful(wix_url, wix_client_id):
            await VisitorSession(wix_client_id, base_url=wix_url).generate_visitor_tokens()

        @pytest.mark.anyio
        async def test_orderly(wix_url, wix_client_id):
            async with VisitorSession(wix_client_id, base_url=wix_url) as session:
                await session.generate_visitor_tokens()
            async with VisitorPool(wix_client_id, base_url=wix_url) as pool:
                await (await pool.session("anna")).generate_visitor_tokens()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*1 VisitorSession or VisitorPool left open: use `async with`*"])


def test_a_fault_by_marker(inner):
    """The marker makes FakeWix misbehave from the start, several of them in the order in which they are read."""
    inner("""
        import pytest
        from wixvisitor import TokenRequestError

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.wix_fault("fail", 429, headers={"Retry-After": "7"}, times=None)
        async def test_fails(visitor_session):
            with pytest.raises(TokenRequestError) as caught:
                await visitor_session.generate_visitor_tokens()
            assert (caught.value.status_code, caught.value.retry_after) == (429, 7.0)

        @pytest.mark.wix_fault("add_header", "x-first", "1")
        @pytest.mark.wix_fault("add_header", "x-second", "2")
        async def test_two(visitor_session):
            response = await visitor_session.get("/ecom/v2/carts/current")
            assert (response.headers["x-first"], response.headers["x-second"]) == ("1", "2")
    """).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ('"explode"', "*wix_fault: the first argument is one of fail, delay,*not 'explode'*"),
        ("", "*wix_fault: the first argument is one of*"),
        ('"fail", colour="red"', "*wix_fault:*unexpected keyword argument 'colour'*"),
    ],
)
def test_a_wrong_marker(inner, mark, said):
    """A marker that makes no sense is an error that says what does."""
    result = inner(f"""
        import pytest

        @pytest.mark.wix_fault({mark})
        def test_it(fake_wix):
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


# The cookie's check

GOOD = "__Host-wixvisitor=secret-value; Path=/; Max-Age=1; Secure; HttpOnly; SameSite=Lax"


def answer(*cookies: str, vary: str = "Accept, Cookie", cache_control: str = "private, no-store") -> httpx.Response:
    headers = [("set-cookie", cookie) for cookie in cookies]
    return httpx.Response(200, headers=[*headers, ("vary", vary), ("cache-control", cache_control)])


def test_a_good_cookie():
    """What wixvisitor sets passes, among other cookies too."""
    assert_visitor_cookie(answer("theme=dark", GOOD))
    assert_visitor_cookie(answer("wixvisitor=x; Path=/; HttpOnly; SameSite=Lax"), "wixvisitor")
    assert_visitor_cookie(answer("session=x; Path=/; SameSite=Lax"), "session", http_only=False)
    assert_no_visitor_cookie(answer("theme=dark"))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (answer(), "found 0; the cookies set: none"),
        (answer("theme=dark"), "the cookies set: theme"),
        (answer(GOOD, GOOD), "found 2"),
        (answer(GOOD.replace("; HttpOnly", "")), "httponly is missing"),
        (answer(GOOD.replace("; Secure", "")), "secure is missing"),
        (answer(GOOD.replace("Lax", "None")), "samesite=lax is missing"),
        (answer(GOOD.replace("Path=/", "Path=/shop")), "path=/ is missing"),
        (answer(f"{GOOD}; Domain=shop.example"), "Domain is set"),
        (answer(GOOD, vary="Accept"), "Vary does not name Cookie"),
        (answer(GOOD, cache_control="public, max-age=1"), "lets caches share it"),
    ],
)
def test_a_bad_cookie(response, said):
    """Whatever is wrong is named; the value is not shown."""
    with pytest.raises(AssertionError, match=re.escape(said)) as caught:
        assert_visitor_cookie(response)
    assert "secret-value" not in str(caught.value)


def test_an_unwanted_cookie():
    """A cookie where there should be none is an error that does not show it."""
    with pytest.raises(AssertionError, match="expected no Set-Cookie") as caught:
        assert_no_visitor_cookie(answer(GOOD))
    assert "secret-value" not in str(caught.value)


def test_headers_of_aiohttp_and_werkzeug():
    """It reads the headers of aiohttp's client and of Quart's test client."""
    from multidict import CIMultiDict
    from werkzeug.datastructures import Headers

    pairs = [("Set-Cookie", GOOD), ("Vary", "Cookie")]

    class Answer:
        headers: Any = CIMultiDict(pairs)

    assert_visitor_cookie(Answer())
    Answer.headers = Headers(pairs)
    assert_visitor_cookie(Answer())
