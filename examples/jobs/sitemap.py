"""A CMS collection, all of its pages, into a sitemap and a CSV: ``python -m examples.jobs.sitemap``."""

import csv
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from examples.jobs.command_line import chosen_site
from wixvisitor.apis.data import items
from wixvisitor.blocking import BlockingVisitorSession


def export(visitor: BlockingVisitorSession, collection: str, url: str, folder: Path) -> int:
    """Writes sitemap.xml and items.csv, and returns the number of items."""
    found = visitor.each(items.query, data_collection_id=collection, query={"cursorPaging": {"limit": 100}})
    books = [item["data"] for item in found]
    urls = Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for book in books:
        entry = SubElement(urls, "url")
        SubElement(entry, "loc").text = f"{url}/{book['slug']}"
    ElementTree(urls).write(folder / "sitemap.xml", encoding="utf-8", xml_declaration=True)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["title", "slug"], extrasaction="ignore")
        table.writeheader()
        table.writerows(books)
    return len(books)


if __name__ == "__main__":
    client_id, base_url = chosen_site()  # your client ID, and None
    with BlockingVisitorSession(client_id, base_url=base_url) as visitor:
        print(export(visitor, "Books", "https://shop.example/books", Path()), "items")
