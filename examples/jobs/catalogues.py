"""The catalogues of many sites, side by side: ``python -m examples.jobs.catalogues --client-id A --client-id B``.

A site that fails or is slow harms no other, and each site is reported when it is done. The reader of Catalog V1 also
answers for sites with V3.
"""

from collections.abc import Sequence

import anyio

from examples.jobs.command_line import Site, chosen_sites
from wixvisitor import VisitorSession
from wixvisitor.apis import each
from wixvisitor.apis.stores import products


async def names_of(site: Site) -> list[str]:
    """Returns the names of all products of a site."""
    async with VisitorSession(site.client_id, base_url=site.base_url) as visitor:
        found = each(products.query_products, visitor, query={"paging": {"limit": 100}})
        return [product["name"] async for product in found]


async def catalogues(sites: Sequence[Site], seconds: float = 60.0) -> dict[str, list[str] | Exception]:
    """Returns the names, or why there are none, by client ID."""
    done: dict[str, list[str] | Exception] = {}

    async def one(site: Site) -> None:
        try:
            with anyio.fail_after(seconds):
                done[site.client_id] = names = await names_of(site)
                outcome = f"{len(names)} products"
        except Exception as error:  # whatever it is, the other sites go on
            done[site.client_id] = error
            outcome = f"{type(error).__name__}: {error}"
        print(f"{len(done)} of {len(sites)}: {site.client_id}: {outcome}")

    async with anyio.create_task_group() as group:
        for site in sites:
            group.start_soon(one, site)
    return done


if __name__ == "__main__":
    anyio.run(catalogues, chosen_sites())  # [Site("your client ID", None), Site("another one", None)]
