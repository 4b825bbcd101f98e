"""Which site a job runs against: yours with ``--client-id ID`` or ``WIX_CLIENT_ID``, else a stand-in on this machine."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from typing import NamedTuple

import httpx


class Site(NamedTuple):
    """A site: its client ID, and what makes the HTTP client; None is wixvisitor's own, which reaches Wix."""

    client_id: str
    client: Callable[[], httpx.AsyncClient] | None


def chosen_sites() -> list[Site]:
    """Returns the sites that the command line names. Other arguments are left to the job."""
    parser = argparse.ArgumentParser(description="a job of examples/jobs", allow_abbrev=False, add_help=False)
    parser.add_argument("--client-id", action="append", default=[], metavar="ID")
    parser.add_argument("--base-url", metavar="URL", help="another stand-in, such as python -m wixvisitor fake")
    options, _ = parser.parse_known_args()
    ids = options.client_id or list(filter(None, [os.environ.get("WIX_CLIENT_ID")]))
    if not ids:
        from examples.jobs.stand_in import stand_in  # noqa: PLC0415 - Wix needs none

        return [Site("00000000-0b50-4000-8000-000000000000", stand_in().client)]
    client = functools.partial(httpx.AsyncClient, base_url=options.base_url) if options.base_url else None
    return [Site(client_id, client) for client_id in ids]


def chosen_site() -> Site:
    """Returns the site that the command line names."""
    return chosen_sites()[0]
