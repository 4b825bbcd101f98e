"""What a session adds to a request, and what users may say about one. Pure."""

from __future__ import annotations

from typing import Any, Final, TypedDict

from wixvisitor._version import __version__

USER_AGENT: Final = f"wixvisitor/{__version__}"


class RequestArguments(TypedDict, total=False):
    """What ``httpx.AsyncClient.request`` takes, save ``auth``: the session is the auth."""

    content: Any
    data: Any
    files: Any
    json: Any
    params: Any
    headers: Any
    cookies: Any
    timeout: Any
    extensions: Any
    follow_redirects: bool


def introduce(request: Any) -> None:
    """Says who asks and what is understood, unless the caller does: httpx's own defaults are not the caller's.

    Without ``Accept: application/json`` Wix's bot protection was seen to answer 403 with an HTML page.
    """
    if request.headers.get("Accept", "*/*") == "*/*":
        request.headers["Accept"] = "application/json"
    if request.headers.get("User-Agent", "python-httpx").startswith("python-httpx"):
        request.headers["User-Agent"] = USER_AGENT
