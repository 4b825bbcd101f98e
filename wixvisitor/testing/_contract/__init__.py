"""What every store must do, as a pytest suite that an adapter's author subclasses. Only this package needs pytest.

Runs on anyio's pytest plugin; every test runs in whatever ``anyio_backend`` says, so on asyncio and on trio.
"""

from __future__ import annotations

import pytest

from wixvisitor.testing._contract._interruptions import InterruptionTests
from wixvisitor.testing._contract._leases import LeaseTests
from wixvisitor.testing._contract._records import ExpiryTests, RecordTests
from wixvisitor.testing._contract._versions import VersionTests


class StorageContract(RecordTests, ExpiryTests, VersionTests, LeaseTests, InterruptionTests):
    """Tests for an adapter: subclass it, override ``make_storage``, and run pytest.

    ::

        class TestMyStorage(StorageContract):
            async def make_storage(self) -> MyStorage:
                return MyStorage(...)

    What the adapter does not offer (compare-and-set, leases) is skipped, with the reason; so is what needs a hook that
    is not overridden: ``reopen``, ``make_expiring`` with ``pass_time``, ``lose_next_reply``. An autouse fixture in the
    subclass can put ``tmp_path`` and the like on ``self``; pytest makes a new object for every test.

    Attributes:
        keeps_many: whether the store holds more than one visitor; with False the tests with several keys are skipped.
        life: seconds for ``make_expiring``; short, because time really passes unless ``pass_time`` is overridden.
    """

    pytestmark = pytest.mark.anyio
