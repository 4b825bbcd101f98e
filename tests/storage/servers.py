"""What every server of the tests needs: a port, patience, and a word when there is none."""

from __future__ import annotations

import os
import socket
from typing import NoReturn

PATIENCE = 10.0  # seconds for a server to start


def lacking(what: str) -> NoReturn:
    """Skips the test, or fails it where servers are required."""
    import pytest  # the benchmarks start servers, too, and have no pytest

    if os.environ.get("WIXVISITOR_REQUIRE_SERVERS"):
        pytest.fail(f"{what}, and WIXVISITOR_REQUIRE_SERVERS is set", pytrace=False)
    pytest.skip(what)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
