"""The pytest plugin, in test sessions of its own: what passes with it, what fails, and what is said then."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import httpx
import pytest

from tests.commands import NEEDED_PLUGINS
from wixvisitor.testing import assert_no_visitor_cookie, assert_visitor_cookie

pytest_plugins = ["pytester"]

INI = (
    "[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:asyncio\nfilterwarnings =\n    error\n"
    # Starlette's TestClient uses it in the lowest versions that are allowed; anyio 4.16 says so.
    "    ignore:The anyio.abc.BlockingPortal alias is deprecated:DeprecationWarning\n"
)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a test file in a session of its own, which prints the same in CI as elsewhere.

    With `apart=True` in a process of its own: what the file leaves open would trouble the tests after this one.
    """
    monkeypatch.delenv("CI", raising=False)  # with it pytest repeats each error in its summary

    def run(source: str, *, apart: bool = False) -> pytest.RunResult:
        pytester.makeini(f"{INI}    ignore::ResourceWarning\n" if apart else INI)
        pytester.makepyfile(source)
        return _apart(pytester, monkeypatch) if apart else pytester.runpytest_inprocess()

    return run


def _apart(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.RunResult:
    for name, value in NEEDED_PLUGINS.items():
        monkeypatch.setenv(name, value)
    return pytester.runpytest_subprocess()


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
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8").stdout == "[]\n"


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
    assert result.stdout.str().count("FakeWix knows no route for: GET /ecom/v9/wishes") == 1
    result.stdout.no_fnmatch_line("*ExceptionGroup*")


def test_a_tolerant_fake(inner):
    """Who expects calls to unknown routes says so, and nothing fails."""
    inner("""
        import httpx

        def test_it(fake_wix, wix_url):
            fake_wix.strict = False
            assert httpx.get(f"{wix_url}/ecom/v9/wishes").status_code == 404
    """).assert_outcomes(passed=1)


def test_what_is_left_open_fails_the_test(inner):
    """A session with a client of its own that nobody closes is an error at the end, which says where it was made."""
    result = inner(
        """
        import pytest
        from wixvisitor import VisitorPool, VisitorSession

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_forgetful(wix_url, wix_client_id, monkeypatch):
            session = VisitorSession(wix_client_id, base_url=wix_url)  # line 10
            monkeypatch.undo()  # does not undo the watching
            await session.generate_visitor_tokens()

        @pytest.mark.anyio
        async def test_orderly(wix_url, wix_client_id):
            async with VisitorSession(wix_client_id, base_url=wix_url) as session:
                await session.generate_visitor_tokens()
            async with VisitorPool(wix_client_id, base_url=wix_url) as pool:
                await (await pool.session("anna")).generate_visitor_tokens()
            VisitorSession(wix_client_id, base_url=wix_url)  # never used, so it holds nothing
    """,
        apart=True,
    )
    result.assert_outcomes(passed=4, errors=2)
    places = "not closed: the VisitorSession of test_what_is_left_open_fails_the_test.py:10. Use `async with`"
    assert result.stdout.str().count(places) == 2


def test_everything_wrong_is_said_at_once(inner):
    """A web app that calls an unknown route, and whose lifespan the test never ends, is one error that names both."""
    result = inner(
        """
        import pytest
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        from wixvisitor import VisitorPool
        from wixvisitor.cookies import IdCookie, generate_key
        from wixvisitor.fastapi import CurrentVisitor, setup

        @pytest.fixture
        def app(wix_url, wix_client_id):
            app = FastAPI()
            setup(app, VisitorPool(wix_client_id, base_url=wix_url), cookie=IdCookie([generate_key()]))  # line 11

            @app.get("/wishes")
            async def wishes(visitor: CurrentVisitor):
                return (await visitor.get("/ecom/v9/wishes")).status_code

            @app.get("/cart")
            async def cart(visitor: CurrentVisitor):
                return (await visitor.get("/ecom/v2/carts/current")).status_code

            return app

        def test_forgetful(app):
            TestClient(app).get("/wishes")

        def test_orderly(app):
            with TestClient(app) as browser:
                assert browser.get("/cart").json() == 404
    """,
        apart=True,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "FakeWix knows no route for: GET /ecom/v9/wishes",
            "not closed: the VisitorPool of test_everything_wrong_is_said_at_once.py:11. Use*`with TestClient(app)`*",
        ]
    )


def test_a_renewal_under_way_at_the_end(inner):
    """What the fixtures hand out needs no closing: a renewal that Wix never answers disturbs nobody."""
    inner("""
        import pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_it(visitor_session, wix_clock, fake_wix):
            await visitor_session.generate_visitor_tokens()
            with fake_wix.hold(grant_type="refresh_token") as gate:
                wix_clock.advance(14_400 - 300)
                await visitor_session.get("/ecom/v2/carts/current")
                await gate.wait_for(1)
                fake_wix.hang(path=None)
    """).assert_outcomes(passed=2)


def test_without_the_extra(pytester, monkeypatch):
    """Where the extra is not installed a run works, and a test that uses a fixture is told what to install."""
    pytester.makeini(INI)
    pytester.makeconftest(
        "import sys\nsys.modules['starlette'] = sys.modules['graphql'] = sys.modules['uvicorn'] = None"
    )
    pytester.makepyfile("def test_other(): pass\ndef test_it(fake_wix): pass")
    result = _apart(pytester, monkeypatch)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ImportError: wixvisitor.testing needs *: pip install 'wixvisitor[[]testing]'*"])


def test_pytest_tells_about_it(pytester):
    """`pytest --fixtures` and `--markers` explain what there is."""
    pytester.makeini(INI)
    fixtures = pytester.runpytest_inprocess("--fixtures").stdout.str()
    for name in ("fake_wix", "wix_clock", "wix_url", "wix_client_id", "visitor_session", "visitor_pool"):
        assert re.search(rf"^{name} -- .*\n    [A-Z]", fixtures, re.MULTILINE), name
    assert (
        "@pytest.mark.wix_fault(name, ...): adds a fault to fake_wix"
        in pytester.runpytest_inprocess("--markers").stdout.str()
    )


def test_a_fault_by_marker(inner):
    """The marker makes FakeWix misbehave from the start, several of them in the order in which they are read."""
    inner("""
        import pytest
        from wixvisitor import TokenRequestError

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.wix_fault("fail", 429, headers={"Retry-After": "60"}, times=None)
        async def test_fails(visitor_session):
            with pytest.raises(TokenRequestError) as caught:
                await visitor_session.generate_visitor_tokens()
            assert (caught.value.status_code, caught.value.retry_after) == (429, 60.0)  # too long to wait for

        @pytest.mark.wix_fault("add_header", "x-first", "1")
        @pytest.mark.wix_fault("add_header", "x-second", "2")
        async def test_two(visitor_session):
            response = await visitor_session.get("/ecom/v2/carts/current")
            assert (response.headers["x-first"], response.headers["x-second"]) == ("1", "2")

        @pytest.mark.parametrize("status", [
            404, pytest.param(500, marks=pytest.mark.wix_fault("fail", 500, path="/ecom/*"))
        ])
        async def test_of_parameters(visitor_session, status):
            assert (await visitor_session.get("/ecom/v2/carts/current")).status_code == status

        @pytest.mark.wix_fault("drop", path="/ecom/*")
        def test_asked_for_late(request):
            request.getfixturevalue("fake_wix")

        @pytest.mark.wix_fault("drop", path="/ecom/*")
        class TestClass:
            def test_for_others(self):
                pass
    """).assert_outcomes(passed=6)


def test_a_marker_for_nobody(inner):
    """A marker on a test without FakeWix fails that test, unless something else has or it was skipped."""
    result = inner("""
        import pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.wix_fault("fail", 503)
        def test_sync():
            pass

        @pytest.mark.wix_fault("fail", 503)
        async def test_async():
            pass

        @pytest.mark.wix_fault("fail", 503)
        def test_fails():
            assert not "its own failure"

        @pytest.mark.wix_fault("fail", 503)
        def test_skipped():
            pytest.skip()
    """)
    result.assert_outcomes(failed=3, skipped=1)
    said = "UsageError: wix_fault: the marker has no effect: this test does not use the fixture fake_wix"
    assert len([line for line in result.outlines if line.startswith("E ") and said in line]) == 2


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ('"explode"', "*wix_fault: the first argument must be one of fail, delay,*not 'explode'*"),
        ("", "*wix_fault: the first argument must be one of*"),
        ('"hold"', "*wix_fault: the marker cannot be used for hold*gate = fake_wix.hold(*"),
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
    assert_visitor_cookie(answer(GOOD, vary="*", cache_control="no-cache"))
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
        (answer(GOOD, cache_control="public, max-age=1"), "allows shared caches"),
        (answer(GOOD, cache_control="s-maxage=60"), "allows shared caches"),
        (answer(GOOD, cache_control=""), "Cache-Control is missing"),
    ],
)
def test_a_bad_cookie(response, said):
    """Whatever is wrong is named; the value is not shown."""
    with pytest.raises(AssertionError, match=re.escape(said)) as caught:
        assert_visitor_cookie(response)
    assert "secret-value" not in str(caught.value)


def test_no_value_among_the_locals(pytester):
    """Also a run that shows local variables does not show the cookie's value."""
    pytester.makeini(INI)
    pytester.makepyfile("""
        import httpx
        from wixvisitor.testing import assert_no_visitor_cookie, assert_visitor_cookie

        def answer():
            return httpx.Response(200, headers={"set-cookie": "__Host-wixvisitor=secret-" + "value; Path=/"})

        def test_wanted():
            assert_visitor_cookie(answer())

        def test_unwanted():
            assert_no_visitor_cookie(answer())
    """)
    result = pytester.runpytest_inprocess("--showlocals")
    result.assert_outcomes(failed=2)
    assert "secret-value" not in result.stdout.str()


def test_an_unwanted_cookie():
    """A cookie where there should be none is an error that does not show it."""
    with pytest.raises(AssertionError, match="expected no Set-Cookie") as caught:
        assert_no_visitor_cookie(answer(GOOD))
    assert "secret-value" not in str(caught.value)


def test_headers_of_aiohttp_and_werkzeug():
    """It reads the headers of aiohttp's client and of Quart's test client."""
    from multidict import CIMultiDict
    from werkzeug.datastructures import Headers

    pairs = [("Set-Cookie", GOOD), ("Vary", "Cookie"), ("Cache-Control", "private, no-store")]

    class Answer:
        headers: Any = CIMultiDict(pairs)

    assert_visitor_cookie(Answer())
    Answer.headers = Headers(pairs)
    assert_visitor_cookie(Answer())
