"""A newsletter to all readers in a CMS collection. Killed, it goes on where it was, as the same visitor.

``python -m examples.jobs.newsletter``: the visitor and the readers who have it are in the folder ``newsletter``. A kill
between a mail and its note sends that mail again.
"""

import os
from collections.abc import Callable
from pathlib import Path

from examples.jobs.command_line import chosen_site
from wixvisitor.apis.data import items
from wixvisitor.apis.stores import products_v3
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.storage import FileStorage


def send_all(visitor: BlockingVisitorSession, done: Path, send: Callable[[str, str], None]) -> int:
    """Sends the newest products to each reader who is not in the file ``done``, and returns how many that were."""
    newest = visitor.call(products_v3.query_products, query={"cursorPaging": {"limit": 3}})["products"]
    text = "New: " + ", ".join(product["name"] for product in newest)
    number, have_it = 0, set(done.read_text("utf-8").split()) if done.exists() else set()
    with done.open("a", encoding="utf-8") as notes:
        for reader in visitor.each(items.query, data_collection_id="Readers", query={"cursorPaging": {"limit": 5}}):
            email = reader["data"]["email"]
            if email in have_it:
                continue
            send(email, text)
            print(email, file=notes, flush=True)
            os.fsync(notes.fileno())
            number += 1
    return number


if __name__ == "__main__":
    client_id, base_url = chosen_site()  # your client ID, and None
    folder = Path("newsletter")
    folder.mkdir(exist_ok=True)
    storage = FileStorage(folder / "visitor.json")
    with BlockingVisitorSession(client_id, base_url=base_url, storage=storage) as visitor:
        print(send_all(visitor, folder / "done.txt", lambda email, text: print(f"To {email}: {text}", flush=True)))
