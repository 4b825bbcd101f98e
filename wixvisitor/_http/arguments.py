"""What may be said about a request, with the types that httpx and httpx2 give it. Pure.

Both have these types in a private module, so they are spelled here, out of the public classes. ``httpx2`` is an extra:
type checkers see its classes beside httpx's, and ``typing.get_type_hints`` sees httpx's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from http.cookiejar import CookieJar
from typing import IO, TYPE_CHECKING, Any, TypedDict

import httpx

if TYPE_CHECKING:
    import httpx2
    from httpx._client import UseClientDefault
    from httpx2._client import UseClientDefault as UseClientDefault2

    AnyClient = httpx.AsyncClient | httpx2.AsyncClient
    URL = httpx.URL | httpx2.URL
    QueryParams = httpx.QueryParams | httpx2.QueryParams
    Headers = httpx.Headers | httpx2.Headers
    Cookies = httpx.Cookies | httpx2.Cookies
    Timeout = httpx.Timeout | httpx2.Timeout
    ClientDefault = UseClientDefault | UseClientDefault2
else:
    AnyClient = httpx.AsyncClient | Any
    URL, QueryParams, Headers, Cookies, Timeout = (
        kind | Any for kind in (httpx.URL, httpx.QueryParams, httpx.Headers, httpx.Cookies, httpx.Timeout)
    )
    ClientDefault = type(httpx.USE_CLIENT_DEFAULT) | Any

ClientMaker = Callable[[], AnyClient]
URLTypes = URL | str

_Primitive = str | int | float | bool | None
_QueryParams = (
    QueryParams
    | Mapping[str, _Primitive | Sequence[_Primitive]]
    | list[tuple[str, _Primitive]]
    | tuple[tuple[str, _Primitive], ...]
    | str
    | bytes
)
_Headers = (
    Headers | Mapping[str, str] | Mapping[bytes, bytes] | Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]]
)
_Cookies = Cookies | CookieJar | dict[str, str] | list[tuple[str, str]]
_Timeout = float | tuple[float | None, float | None, float | None, float | None] | Timeout | None
_Content = str | bytes | Iterable[bytes] | AsyncIterable[bytes]
_FileContent = IO[bytes] | bytes | str
_File = (
    _FileContent
    | tuple[str | None, _FileContent]
    | tuple[str | None, _FileContent, str | None]
    | tuple[str | None, _FileContent, str | None, Mapping[str, str]]
)
_Files = Mapping[str, _File] | Sequence[tuple[str, _File]]


class RequestArguments(TypedDict, total=False):
    """What ``httpx.AsyncClient.request`` takes, save ``auth``: the session is the auth.

    ``json`` is whatever ``json.dumps`` takes. A ``timeout`` in seconds; None for none.
    """

    content: _Content | None
    data: Mapping[str, Any] | None
    files: _Files | None
    json: Any
    params: _QueryParams | None
    headers: _Headers | None
    cookies: _Cookies | None
    timeout: _Timeout | ClientDefault
    extensions: Mapping[str, Any] | None
    follow_redirects: bool | ClientDefault
