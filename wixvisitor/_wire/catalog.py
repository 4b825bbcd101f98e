"""The catalogue: what is the same for everybody, the paths of it that may be read, and the key of who reads it. Pure.

A path is compared as the servers on its way may read it: decoded until nothing is left to decode. A path that two
servers could read in two ways is on no list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

from wixvisitor.errors import ConfigurationError

CATALOG_KEY: Final = "wixvisitor:catalog"
"""The key of the catalogue's visitor in a pool and in its storage. ``checked_key`` gives it to no caller; a cookie's
key has no colon."""

# The paths that www.wixapis.com has for what a site shows to everybody, from the tables in ``build/cjs/meta.js`` of the
# npm packages @wix/auto_sdk_<name>; blog_posts 1.0.186, blog_tags 1.0.60, categories_categories 1.0.145 and
# stores_products-v-3 1.0.226 for the first six.
CATALOG_PATHS: Final[tuple[str, ...]] = (
    "/stores/",
    "/stores-reader/",  # the reader of both catalogs; @wix/auto_sdk_stores_products
    "/categories/",
    "/blog/",
    "/v3/posts",
    "/v3/tags",
    "/events/v1/categories",  # events_categories 1.0.58
    "/events/v1/events",  # dev.wix.com, Events V1
    "/events/v3/events",  # events_wix-events-v-2 1.0.112
    "/events/v3/ticket-definitions",  # events_ticket-definitions-v-2 1.0.133
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
"""Where ``CatalogVisitor`` may read unless ``catalog_paths`` says otherwise."""

READING_POSTS: Final = frozenset(
    {"query", "search", "count", "aggregate"}
)  # last segments of a POST that changes nothing

_MAX_DECODES: Final = 8  # of decoding; what is still encoded after them hides something
# What ends or splits a segment for some server, and what is still encoded; then what looks like a slash or a backslash
# and is made one where texts are converted to an old encoding. NFKC has made the others plain before.
_SEPARATORS: Final = re.compile("[/\\\\;?#%\u2044\u2215\u2216\u29f5\u29f8]")


def is_reserved(key: str) -> bool:
    """Whether this is the catalogue's key, also for a store that does not tell cases or forms of Unicode apart."""
    return unicodedata.normalize("NFKC", key).strip().casefold() == CATALOG_KEY


def segments_of(path: str) -> tuple[str, ...] | None:
    """Returns the decoded segments of an absolute URL's path, None if servers could disagree about them.

    Args:
        path: as it is sent, without the query. Dot segments that are not encoded have been resolved by the client.
    """
    first, *segments = path.split("/")
    if first:
        return None
    decoded = [_decoded(segment) for segment in segments]
    while decoded and decoded[-1] == "":  # a slash at the end
        decoded.pop()
    return None if any(not _is_plain(segment) for segment in decoded) else tuple(map(str, decoded))


def _decoded(segment: str) -> str | None:
    """Returns the segment without any percent-encoding, None if it never ends or is no UTF-8."""
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
    return bool(seen.strip(" ."))  # neither empty nor a dot segment, as which Windows counts ".. " too


class CatalogPaths:
    """The prefixes that may be read.

    Args:
        prefixes: absolute paths. One that ends in a slash covers what is below it; another one covers itself, too.

    Raises:
        ConfigurationError: it is no sequence of such paths, or one of them covers everything.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str | bytes) or not isinstance(prefixes, Sequence):
            raise ConfigurationError("catalog_paths: expected several path prefixes; put the one into a tuple")
        self._prefixes = tuple(_checked(prefix) for prefix in prefixes)

    def cover(self, segments: tuple[str, ...]) -> bool:
        """Whether these decoded segments, without the base URL's own, are the catalogue's."""
        return any(len(segments) >= least and segments[: len(prefix)] == prefix for prefix, least in self._prefixes)


def _checked(prefix: Any) -> tuple[tuple[str, ...], int]:
    """Returns the prefix's segments, and how many a path needs at least."""
    segments = segments_of(prefix) if isinstance(prefix, str) else None
    if not segments or not isinstance(prefix, str) or "//" in prefix:
        raise ConfigurationError(
            f"catalog_paths: expected a path like '/stores/' or '/v3/posts', plainly spelt and not just '/', "
            f"got {prefix if isinstance(prefix, str) else type(prefix).__name__!r:.80}"
        )
    return segments, len(segments) + prefix.endswith("/")
