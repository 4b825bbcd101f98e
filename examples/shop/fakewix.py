"""``python -m examples.shop.fakewix``: a FakeWix that outlives the shop, which may then be stopped and started."""

import argparse

import uvicorn

from examples.shop.catalogue import PRODUCTS
from wixvisitor.testing import FakeWix


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop.fakewix")
    parser.add_argument("--port", type=int, default=8900)
    port = parser.parse_args().port
    print(f"python -m examples.shop --base-url http://127.0.0.1:{port}", flush=True)  # noqa: T201 - a command line
    uvicorn.run(FakeWix(products=PRODUCTS).app, host="127.0.0.1", port=port, lifespan="off", log_level="warning")


if __name__ == "__main__":
    main()
