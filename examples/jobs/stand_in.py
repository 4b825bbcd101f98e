"""What the jobs find where no Wix is: a FakeWix with a shop, a CMS, a blog, a plan, a form and an appointment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wixvisitor.testing import Call, FakeWix, Product

MEMBER: Final = ("anna@example.com", "correct horse")
BOOKINGS: Final = "13d21c63-b5ec-5912-8397-c3a5ddb27a97"  # the app ID of Wix Bookings
BOOKING: Final = "booking-1"

_BOOKS: Final = [{"title": f"Book {n}", "slug": f"book-{n}", "_updatedDate": "2026-11-30"} for n in range(1, 251)]
_READERS: Final = [{"email": f"reader{n}@example.com"} for n in range(1, 13)]
_TOPICS: Final = [{"id": f"c{n}", "label": label} for n, label in enumerate(("Tea", "Cups", "Kettles"))]
_TAGS: Final = [{"id": f"t{n}", "label": label} for n, label in enumerate(("new", "green", "black"))]
_POSTS: Final = [
    {"id": f"p{n}", "title": f"Post {n}", "slug": f"post-{n}", "categoryIds": [f"c{n % 3}"], "tagIds": [f"t{n % 3}"]}
    for n in range(1, 121)
]
_SLOT: Final[Any] = {
    "serviceId": "haircut",
    "localStartDate": "2026-12-01T10:00:00",
    "localEndDate": "2026-12-01T10:30:00",
    "bookable": True,
}


def stand_in(**arguments: Any) -> FakeWix:
    """Returns a new FakeWix with all of it; takes what FakeWix takes."""
    haircut = Product(BOOKING, name="Haircut", price="35", app_id=BOOKINGS)
    fake = FakeWix(**{"products": [*FakeWix().products, haircut], **arguments})
    fake.add_member(*MEMBER)
    fake.collections["Books"] = _BOOKS
    fake.collections["Readers"] = _READERS
    _add_blog(fake)
    active: Any = {"planId": "plan-1", "planName": "Tea club", "status": "ACTIVE"}
    fake.answer("pricing_plans.orders.member_list_orders", {"orders": [active]})
    fake.answer("forms.submissions.create_submission", _submitted)
    service: Any = {"id": "haircut", "name": "Haircut", "schedule": {"id": "schedule-1"}, "staffMemberIds": ["ben"]}
    fake.answer("bookings.services.query_services", {"services": [service]})
    fake.answer("bookings.availability.list_availability_time_slots", {"timeSlots": [_SLOT]})
    fake.answer("bookings.bookings.create_booking", _booked)
    return fake


def _add_blog(fake: FakeWix) -> None:
    fake.answer("blog.posts.query_posts", pages("posts", _POSTS))
    fake.answer("blog.posts.get_post_by_slug", _post)
    fake.answer("blog.categories.query_categories", pages("categories", _TOPICS))
    fake.answer("blog.tags.query_tags", pages("tags", _TAGS))


def pages(key: str, items: list[Any]) -> Callable[[Call], Any]:
    """Returns the answer to a query: the page that the call asks for, by cursor or by offset."""

    def page(call: Call) -> Any:
        query = call.json["query"]
        paging = query.get("cursorPaging") or query.get("paging") or {}
        start, limit = int(paging.get("cursor") or paging.get("offset") or 0), paging.get("limit", 50)
        more = start + limit < len(items)
        cursors = {"next": str(start + limit)} if more and "cursorPaging" in query else {}
        metadata = {"total": len(items), "hasNext": more, "cursors": cursors}
        return {key: items[start : start + limit], "pagingMetadata": metadata}

    return page


def _post(call: Call) -> Any:
    slug = call.path.rpartition("/")[2]
    return {"post": {**next(post for post in _POSTS if post["slug"] == slug), "contentText": "Boil, pour, wait."}}


def _submitted(call: Call) -> Any:
    return {"submission": {"id": "submission-1", **call.json["submission"]}}


def _booked(call: Call) -> Any:
    return {"booking": {"id": BOOKING, **call.json["booking"]}}
