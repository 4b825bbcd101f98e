"""The catalogue: data that is the same for every visitor. Which paths may be read, and the key of their reader. Pure.

Before a path is compared, it is decoded until no percent-encoding is left, because each server on the way may decode
it once. A path that two servers could read differently never matches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

from wixvisitor.errors import ConfigurationError

CATALOG_KEY: Final = "wixvisitor:catalog"
"""The key of the catalogue's visitor in a pool and in its storage. ``checked_key`` rejects it as a caller's key, and a
cookie's key cannot equal it, because it has no colon."""

# The paths of www.wixapis.com for what a site shows to every visitor. They come from the tables in
# ``build/cjs/meta.js`` of the npm packages @wix/auto_sdk_<name>. The first six: blog_posts 1.0.186, blog_tags 1.0.60,
# categories_categories 1.0.145 and stores_products-v-3 1.0.226.
CATALOG_PATHS: Final[tuple[str, ...]] = (
    "/stores/",
    "/stores-reader/",  # the reader of both catalogs; @wix/auto_sdk_stores_products
    "/v2/collections",  # stores_collections 1.0.51
    "/categories/",
    "/blog/",
    "/v3/posts",
    "/v3/tags",
    "/events/v1/categories",  # events_categories 1.0.58
    "/events/v1/events",  # dev.wix.com, Events V1
    "/events/v3/events",  # events_wix-events-v-2 1.0.112
    "/events/v3/ticket-definitions",  # events_ticket-definitions-v-2 1.0.133, and the next
    "/events-ticket-definitions/v3/ticket-definitions",
    "/bookings/v2/services",  # bookings_services 1.0.285, and the next
    "/_api/bookings/v2/services",
    "/bookings/v1/availability",  # bookings_availability-calendar 1.0.201, and the next two
    "/bookings/availability-calendar/",
    "/availability-calendar/",
    "/service-availability/",  # bookings_availability-time-slots 1.0.275, and the next
    "/_api/service-availability/",
    "/pricing-plans/v2/plans",  # pricing-plans_plans 1.0.117
    "/pricing-plans/v3/plans",  # pricing-plans_plans-v-3 1.0.120
    "/reviews/",  # reviews_reviews 1.0.39
    "/wix-data/v2/items/",  # data_items
)
"""The paths that ``CatalogVisitor`` may read by default. ``catalog_paths`` replaces them."""

READING_POSTS: Final = frozenset(
    {"query", "query-platformized", "search", "count", "aggregate"}
)  # a POST whose path ends in one of these segments changes nothing

_MAX_DECODES: Final = 8  # a segment that is still encoded after so many decodings is suspicious, and does not match
# First, characters that end or split a segment for some server, and ``%``, which shows that it is still encoded. Then,
# characters that become a slash or a backslash when a server converts the text to an old encoding. The other
# lookalikes need no entry: NFKC has replaced them before.
_SEPARATORS: Final = re.compile("[/\\\\;?#%\u2044\u2215\u2216\u29f5\u29f8]")


def is_reserved(key: str) -> bool:
    """Whether this is the catalogue's key. Some stores ignore case or Unicode forms, so this ignores them, too."""
    return unicodedata.normalize("NFKC", key).strip().casefold() == CATALOG_KEY


def segments_of(path: str) -> tuple[str, ...] | None:
    """Returns the decoded segments of an absolute URL's path; None if two servers could read them differently.

    Args:
        path: as it is sent, without the query. The client has already resolved dot segments that are not encoded.
    """
    first, *segments = path.split("/")
    if first:
        return None
    decoded = [_decoded(segment) for segment in segments]
    while decoded and decoded[-1] == "":  # the path ends in a slash
        decoded.pop()
    return None if any(not _is_plain(segment) for segment in decoded) else tuple(map(str, decoded))


def _decoded(segment: str) -> str | None:
    """Returns the segment without any percent-encoding; None if it is encoded too many times or is not UTF-8."""
    for _ in range(_MAX_DECODES):
        try:
            before, segment = segment, unquote(segment, errors="strict")
        except UnicodeDecodeError:
            return None
        if segment == before:
            return segment
    return None


def _is_plain(segment: str | None) -> bool:
    if segment is None:
        return False
    text = unicodedata.normalize("NFKC", segment)
    kinds = {unicodedata.category(character) for character in segment + text}
    if kinds & {"Cc", "Cs", "Zl", "Zp"} or _SEPARATORS.search(segment + text):
        return False
    seen = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return bool(seen.strip(" ."))  # neither empty nor a dot segment; Windows also treats ".. " as one


class CatalogPaths:
    """The path prefixes that the catalogue's visitor may read.

    Args:
        prefixes: absolute paths. A prefix that ends in a slash covers the paths below it. Any other prefix covers the
            paths below it and itself.

    Raises:
        ConfigurationError: ``prefixes`` is not a sequence of such paths, or one of them covers every path.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str | bytes) or not isinstance(prefixes, Sequence):
            raise ConfigurationError("catalog_paths: expected a list or tuple of path prefixes, such as ('/stores/',)")
        self._prefixes = tuple(_checked(prefix) for prefix in prefixes)

    def cover(self, segments: tuple[str, ...]) -> bool:
        """Whether a prefix covers this path, given as decoded segments without those of the base URL."""
        return any(len(segments) >= least and segments[: len(prefix)] == prefix for prefix, least in self._prefixes)


def _checked(prefix: Any) -> tuple[tuple[str, ...], int]:
    """Returns the prefix's segments, and how many segments a path that it covers has at least."""
    segments = segments_of(prefix) if isinstance(prefix, str) else None
    if not segments or not isinstance(prefix, str) or "//" in prefix:
        raise ConfigurationError(
            f"catalog_paths: expected a path like '/stores/' or '/v3/posts', without encoding and not just '/', "
            f"got {prefix if isinstance(prefix, str) else type(prefix).__name__!r:.80}"
        )
    return segments, len(segments) + prefix.endswith("/")
