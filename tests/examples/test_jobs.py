"""The nine jobs of examples/jobs, each over a stand-in."""

from __future__ import annotations

import ast
import csv
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import anyio
import httpx
import pytest

from examples.jobs import booking, catalogues, club, contact, plan, sitemap, storefront
from examples.jobs.command_line import Site
from examples.jobs.stand_in import MEMBER, stand_in
from tests.constants import CLIENT_ID, EPOCH, LIFETIME
from wixvisitor import TokenRequestError, VisitorPool, WixAPIError
from wixvisitor.blocking import BlockingVisitorPool, BlockingVisitorSession
from wixvisitor.cookies import IdCookie, generate_key
from wixvisitor.testing import FakeWix, assert_no_visitor_cookie

TOP = Path(__file__).parents[2]
JOBS = ("sitemap", "blog", "catalogues", "plan", "club", "contact", "booking", "newsletter", "storefront")
SHOP = "https://shop.example"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fake() -> Iterator[FakeWix]:
    with stand_in(clock=lambda: EPOCH, strict=True) as fake:
        yield fake


@pytest.fixture
def visitor(fake: FakeWix) -> Iterator[BlockingVisitorSession]:
    with BlockingVisitorSession(CLIENT_ID, client=fake.client, clock=fake.now) as session:
        yield session


@pytest.fixture
def pool(fake: FakeWix) -> VisitorPool:
    return VisitorPool(CLIENT_ID, client=fake.client(), clock=fake.now)


@pytest.fixture
def cookie() -> IdCookie:
    return IdCookie([generate_key()])


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SHOP)


def own_lines(path: Path) -> int:
    """The lines of a file that are neither imports, docstrings, comments nor empty."""
    text = path.read_text("utf-8")
    own = {n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    for node in ast.walk(ast.parse(text)):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or is_docstring:
            own -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(own)


@pytest.mark.parametrize("job", JOBS)
def test_length(job: str) -> None:
    """A job has at most 30 lines of its own."""
    assert own_lines(TOP / f"examples/jobs/{job}.py") <= 30


def test_sitemap(visitor: BlockingVisitorSession, fake: FakeWix, tmp_path: Path) -> None:
    """Every item of the collection is in the sitemap and in the table, though it takes three pages."""
    number = sitemap.export(visitor, "Books", f"{SHOP}/books", tmp_path)
    urls = [element.text for element in ET.parse(tmp_path / "sitemap.xml").iter() if element.text]
    rows = list(csv.DictReader((tmp_path / "items.csv").read_text("utf-8").splitlines()))
    assert number == len(urls) == len(rows) == 250
    assert urls[249] == f"{SHOP}/books/{rows[249]['slug']}"
    assert len(fake.api_calls()) == 3


@pytest.fixture
def blog(visitor: BlockingVisitorSession, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("WIX_CLIENT_ID", CLIENT_ID)  # as Lambda's configuration has it
    module = importlib.import_module("examples.jobs.blog")
    monkeypatch.setattr(module, "BLOG", visitor)
    return module


def test_blog(blog: ModuleType, fake: FakeWix) -> None:
    """All posts come with the names of their topics and tags, one post comes by its slug, an unknown one is a 404."""
    posts = blog.handler({})["posts"]
    assert len(posts) == 120
    assert posts[0] == {"title": "Post 1", "slug": "post-1", "topics": ["Cups"], "tags": ["green"]}
    assert [call.path for call in fake.api_calls()].count("/v3/posts/query") == 3
    assert blog.handler({"pathParameters": {"slug": "post-7"}})["post"]["contentText"].startswith("Boil")
    fake.fail(404, path="/v3/posts/*")
    assert blog.handler({"pathParameters": {"slug": "none"}})["statusCode"] == 404


def test_blog_that_was_frozen(blog: ModuleType, fake: FakeWix) -> None:
    """A handler that is frozen for longer than its token lives goes on as the same visitor."""
    blog.handler({"pathParameters": {"slug": "post-1"}})
    fake.advance(3 * LIFETIME)
    assert blog.handler({"pathParameters": {"slug": "post-2"}})["post"]["slug"] == "post-2"
    assert len(fake.visitors) == 1
    assert [call.grant_type for call in fake.token_calls()] == ["anonymous", "refresh_token"]


@pytest.mark.anyio
async def test_catalogues(capsys: pytest.CaptureFixture[str]) -> None:
    """One site fails and one does not answer; the others are read all the same, and each is reported."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(5)]
    fakes = [FakeWix() for _ in ids]
    fakes[1].fail(403, times=None, path="/stores-reader/*")
    fakes[2].hang(times=None, path="/stores-reader/*")
    fakes[3].fail(400, times=None, body={"error": "invalid_client"})
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(one.serve()) for one in fakes]
        found = await catalogues.catalogues(list(map(Site, ids, urls)), seconds=1.0)
    names = [product.name for product in fakes[0].products]
    assert found[ids[0]] == found[ids[4]] == names
    assert isinstance(found[ids[1]], WixAPIError)
    assert isinstance(found[ids[2]], TimeoutError)
    assert not isinstance(found[ids[3]], list | TokenRequestError)  # a ConfigurationError: the client ID is wrong
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"{number} of 5" for number in range(1, 6)]
    assert ids[2] in lines[-1]


class Rerun(BaseException):
    """Ends a run of a script, which is run again, as in Streamlit."""


class Streamlit:
    """What a run of a Streamlit script sees: the values of its fields, and its session's state."""

    def __init__(self, state: dict[str, Any], *fields: str) -> None:
        self.session_state, self.shown = state, dict[str, str]()
        self._fields, self._submitted = iter(fields), bool(fields)

    def form(self, _key: str) -> AbstractContextManager[None]:
        return nullcontext()

    def text_input(self, _label: str, **_options: str) -> str:
        return next(self._fields, "")

    def form_submit_button(self, _label: str) -> bool:
        return self._submitted

    def rerun(self) -> None:
        raise Rerun

    def __getattr__(self, name: str) -> Any:
        assert name in ("success", "warning", "error", "info")
        return lambda text: self.shown.update({name: text})


def test_plan(fake: FakeWix) -> None:
    """A browser sees the page after a login with an active plan; other browsers do not."""
    anna: dict[str, Any] = {}
    with BlockingVisitorPool(CLIENT_ID, client=fake.client, clock=fake.now) as visitors:

        def shown(state: dict[str, Any], *fields: str) -> dict[str, str]:
            st = Streamlit(state, *fields)
            try:
                plan.page(st, visitors)
            except Rerun:
                return shown(state)
            return st.shown

        assert shown(anna) == {}
        assert shown(anna, MEMBER[0], "wrong") == {"error": "E-mail or password is wrong."}
        assert shown(anna, *MEMBER) == shown(anna) == {"success": "Welcome. Your plan: Tea club"}
        assert shown({}) == {}
        fake.verify_emails = True
        ben = visitors.session("ben")
        assert ben.members.register("ben@example.com", "correct horse").state == "email_verification_required"
        assert "code" in shown({}, "ben@example.com", "correct horse")["info"]
        fake.answer("pricing_plans.orders.member_list_orders", {"orders": []})
        assert "warning" in shown(anna)


@pytest.mark.anyio
async def test_club(pool: VisitorPool, cookie: IdCookie, fake: FakeWix) -> None:
    """A browser without a login is sent to Wix's page, comes back as a member, and gets in with an active plan."""
    fake.allowed_redirect_uris = frozenset({f"{SHOP}/auth/callback"})
    async with browser(club.make_app(pool, cookie, f"{SHOP}/auth/callback")) as anna:
        page = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        away = await anna.get("/club", headers=page)
        login = await anna.get(away.headers["location"], headers=page)
        back = await anna.get(fake.log_in(login.headers["location"], MEMBER[0]), headers=page)
        assert back.headers["location"].endswith("/club")
        assert (await anna.get("/club")).json() == {"plan": "Tea club"}
        fake.answer("pricing_plans.orders.member_list_orders", {"orders": []})
        assert (await anna.get("/club")).status_code == 403


@pytest.mark.anyio
async def test_contact(pool: VisitorPool, cookie: IdCookie, fake: FakeWix) -> None:
    """A submission reaches the form; one that fell into the trap reads the same, and does not."""
    async with browser(contact.make_app(pool, cookie)) as anna:
        assert 'name="website"' in (await anna.get("/")).text
        form = {"email": "anna@example.com", "message": "Tea?"}
        answers = [await anna.post("/contact", data=data) for data in (form, {**form, "website": "spam.example"})]
        assert [answer.text for answer in answers] == ['"Thank you."'] * 2
        [call] = fake.api_calls()
        assert call.json["submission"] == {"formId": contact.FORM, "submissions": form}
        fake.fail(400, path=call.path, body={"message": "email is not valid"})
        refused = await anna.post("/contact", data=form)
        assert (refused.status_code, refused.json()["detail"]) == (422, "email is not valid")


def test_booking(visitor: BlockingVisitorSession, fake: FakeWix) -> None:
    """The first free slot is booked with all that Wix needs, and is in the cart at the checkout."""
    url = booking.book(visitor, "Haircut", datetime(2026, 12, 1), "anna@example.com")
    asked, created, *_ = [call.json for call in fake.api_calls() if call.path.endswith(("/time-slots", "/bookings"))]
    assert asked == {
        "serviceId": "haircut",
        "fromLocalDate": "2026-12-01T00:00:00",
        "toLocalDate": "2026-12-31T00:00:00",
        "timeZone": "Europe/Berlin",
        "bookable": True,
    }
    assert created["booking"] == {
        "bookedEntity": {
            "slot": {
                "serviceId": "haircut",
                "scheduleId": "schedule-1",
                "startDate": "2026-12-01T10:00:00",
                "endDate": "2026-12-01T10:30:00",
                "timezone": "Europe/Berlin",
                "resource": {"id": "ben"},
                "location": {"locationType": "OWNER_BUSINESS"},
            }
        },
        "contactDetails": {"email": "anna@example.com"},
        "totalParticipants": 1,
    }
    [cart] = [one.cart for one in fake.visitors.values()]
    assert cart is not None
    assert [line.product.name for line in cart.lines] == ["Haircut"]
    assert url is not None
    assert f"checkoutId={cart.id}" in url
    with pytest.raises(LookupError, match="Massage"):
        booking.book(visitor, "Massage", datetime(2026, 12, 1), "anna@example.com")
    fake.answer("bookings.availability.list_availability_time_slots", {"timeSlots": []})
    assert booking.book(visitor, "Haircut", datetime(2026, 12, 1), "anna@example.com") is None


@pytest.mark.anyio
async def test_newsletter_that_is_killed(tmp_path: Path) -> None:
    """A job that is killed with -9 goes on where it was, as the same visitor, and leaves no reader out."""
    fake, sent = stand_in(), []
    readers = [reader["email"] for reader in fake.collections["Readers"]]

    def start(url: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "examples.jobs.newsletter", "--client-id", CLIENT_ID, "--base-url", url]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, encoding="utf-8")

    async with fake.serve() as url:
        gate = fake.hold(path="/wix-data/*", after=1)
        with start(url) as job:
            await gate.wait_for(1, timeout=30)  # five are sent, and the job waits for the next page
            job.kill()
            sent += (await anyio.to_thread.run_sync(job.communicate))[0].splitlines()
        gate.release()
        with start(url) as job:
            sent += (await anyio.to_thread.run_sync(job.communicate))[0].splitlines()
    assert [line.split()[1].rstrip(":") for line in sent[:-1]] == readers
    assert sent[-1] == str(len(readers) - 5)
    assert len(fake.visitors) == len(fake.token_calls()) == 1


@pytest.mark.anyio
async def test_storefront(pool: VisitorPool, cookie: IdCookie, fake: FakeWix) -> None:
    """Crawlers make no visitor and get no cookie; a shopper has one with the first item, and goes to the checkout."""
    app = storefront.make_app(pool, cookie)
    for _ in range(3):
        async with browser(app) as crawler:
            page = await crawler.get("/")
            assert_no_visitor_cookie(page)
    assert "Mug" in page.text
    assert "Haircut" not in page.text
    assert len(fake.visitors) == 1
    async with browser(app) as anna:
        answer = await anna.post("/cart", data={"product": fake.products[0].id})
    assert answer.status_code == 303
    assert "/checkout?checkoutId=" in answer.headers["location"]
    assert len(fake.visitors) == 2


def test_from_the_command_line(tmp_path: Path) -> None:
    """A job runs without a site: a stand-in is served, and ends with the program."""
    environment = {**os.environ, "PYTHONPATH": str(TOP), "WIX_CLIENT_ID": ""}
    command = [sys.executable, "-m", "examples.jobs.sitemap"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    assert ran.stderr.startswith("No --client-id, so a stand-in plays Wix: http://127.0.0.1:")
    assert ran.stdout == "250 items\n"


def test_the_page_shows_the_files() -> None:
    """The page of the jobs has each as it is in its file, without the docstring, which it tells in its own words."""
    page = (TOP / "docs/how-to/jobs.md").read_text("utf-8")
    blocks = re.findall(r'```python title="(.*?)"\n(.*?)```', page, flags=re.DOTALL)
    files = {f"examples/jobs/{job}.py": (TOP / f"examples/jobs/{job}.py").read_text("utf-8") for job in JOBS}
    assert blocks == [(name, text[text.index('"""\n\n') + 5 :]) for name, text in files.items()]
