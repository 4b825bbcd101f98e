"""Which site a job runs against: ``--client-id ID`` or ``WIX_CLIENT_ID``, else a stand-in on this machine."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
from typing import NamedTuple

import anyio


class Site(NamedTuple):
    """A site: its client ID, and the address of a stand-in; None is Wix."""

    client_id: str
    base_url: str | None


def chosen_sites() -> list[Site]:
    """Returns the sites that the command line names. Other arguments are left to the job."""
    parser = argparse.ArgumentParser(description="a job of examples/jobs", allow_abbrev=False)
    parser.add_argument("--client-id", action="append", metavar="ID", help="your site; several, for the catalogues")
    parser.add_argument("--base-url", metavar="URL", help="another stand-in, such as python -m wixvisitor fake")
    options, _ = parser.parse_known_args()
    ids, url = options.client_id or list(filter(None, [os.environ.get("WIX_CLIENT_ID")])), options.base_url
    if not ids:
        ids, url = ["00000000-0b50-4000-8000-000000000000"], url or served_stand_in()
    return [Site(client_id, url) for client_id in ids]


def chosen_site() -> Site:
    """Returns the site that the command line names."""
    return chosen_sites()[0]


def served_stand_in() -> str:
    """Serves the stand-in until the program ends, and returns its URL."""
    from examples.jobs.stand_in import stand_in  # noqa: PLC0415 - Wix needs none

    urls: queue.Queue[str] = queue.Queue()

    async def serve() -> None:
        async with stand_in().serve(page=True) as url:
            urls.put(url)
            await anyio.sleep_forever()

    threading.Thread(target=anyio.run, args=[serve], daemon=True).start()
    url = urls.get(timeout=30)
    print(f"No --client-id, so a stand-in plays Wix: {url}", file=sys.stderr)
    return url
