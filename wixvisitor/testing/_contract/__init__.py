"""The requirements for every storage, as a pytest suite that the author of an adapter subclasses.

Only this package needs pytest. The tests run with anyio's pytest plugin, on each backend of the fixture
``anyio_backend``: by default on asyncio and on trio.
"""

from __future__ import annotations

import pytest

from wixvisitor.testing._contract._interruptions import InterruptionTests
from wixvisitor.testing._contract._leases import LeaseTests
from wixvisitor.testing._contract._listing import ListingTests
from wixvisitor.testing._contract._records import ExpiryTests, RecordTests
from wixvisitor.testing._contract._versions import VersionTests


class StorageContract(RecordTests, ExpiryTests, VersionTests, LeaseTests, ListingTests, InterruptionTests):
    """Tests for an adapter: subclass it, override ``make_storage``, and run pytest.

    ::

        class TestMyStorage(StorageContract):
            async def make_storage(self) -> MyStorage:
                return MyStorage(...)

    Tests of features that the adapter does not offer (compare-and-set, leases, ``keys``) are skipped, with the reason.
    So are tests of a hook that is not overridden: ``reopen``, ``make_expiring`` with ``pass_time``,
    ``lose_next_reply``. If ``make_storage`` needs ``tmp_path`` or another fixture, an autouse fixture in the subclass
    can store it on ``self``; pytest makes a new object for every test.

    Concurrency: pytest runs its tests one after another; some of them call the store from many tasks at once.
    Cancellation: some tests cancel calls of the store, as the timeout of a request does.
    """

    pytestmark = pytest.mark.anyio
    """Makes anyio's plugin run the tests."""
