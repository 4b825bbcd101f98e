"""``python -m wixvisitor fake``: serves FakeWix with its page until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from wixvisitor.cli._fake_arguments import FakeArguments
from wixvisitor.cli._output import complain, say
from wixvisitor.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from wixvisitor.testing import FakeWix, Product
    from wixvisitor.testing._stand_in.state_file import StateFile
    from wixvisitor.testing._stand_in.upkeep import Upkeep

_A_CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
_STARTED: Final = """\
FakeWix plays Wix on {url}/ - open it in a browser. Ctrl-C ends it.
  Python    VisitorSession(client_id, base_url="{url}")
  @wix/sdk  const wix = fetch; globalThis.fetch = (url, init) => \
wix(`${{url}}`.replace(/^https:\\/\\/\\w+\\.wixapis\\.com/, "{url}"), init);
  curl      curl {url}/oauth2/token -d '{{"clientId": "{client_id}", "grantType": "anonymous"}}'"""


def run(arguments: FakeArguments) -> int:
    """Serves until Ctrl-C or SIGTERM, then returns 0.

    Raises:
        ConfigurationError: the extra is missing, the products cannot be read, or the host and port cannot be used.
        StorageError: the file with the state cannot be used. It is left as it is.

    """
    try:
        import wixvisitor.testing._stand_in.app  # noqa: F401, PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ConfigurationError(
            f"python -m wixvisitor fake needs {missing}: pip install 'wixvisitor[testing]'"
        ) from None
    with ExitStack() as stack:
        file = stack.enter_context(_locked(arguments.reload_state)) if arguments.reload_state else None
        upkeep = _upkeep(arguments, _fake(arguments, file), file)
        with suppress(KeyboardInterrupt):  # where the loop cannot receive signals
            anyio.run(_serve, arguments, upkeep)
        if file is not None:
            with _about(file.path):
                upkeep.save_now()
            count = len(upkeep.fake.visitors)
            say(f"{count} visitor{' is' if count == 1 else 's are'} kept in {file.path}")
    return 0


async def _serve(arguments: FakeArguments, upkeep: Upkeep) -> None:
    from wixvisitor.testing._serve import serving  # noqa: PLC0415 - needs the extra
    from wixvisitor.testing._stand_in.app import with_page  # noqa: PLC0415

    app = with_page(
        upkeep.fake,
        hosts=[arguments.host, *arguments.allow_host],
        origins=arguments.allow_origin,
        changed=upkeep.changes.note,
    )
    async with AsyncExitStack() as stack:
        with _about_the_port(arguments):
            url = await stack.enter_async_context(serving(app, host=arguments.host, port=arguments.port))
        for line in _STARTED.format(url=url, client_id=(arguments.client_id or [_A_CLIENT_ID])[0]).splitlines():
            say(line)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_told, tasks.cancel_scope)
            await upkeep.run()


async def _cancel_when_told(scope: anyio.CancelScope) -> None:
    if sys.platform != "win32":  # asyncio cannot receive signals there; Ctrl-C is a KeyboardInterrupt
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
                return


def _fake(arguments: FakeArguments, file: StateFile | None) -> FakeWix:
    from wixvisitor.testing import FakeWix  # noqa: PLC0415 - needs the extra
    from wixvisitor.testing._stand_in.clock import Clock  # noqa: PLC0415
    from wixvisitor.testing._stand_in.member_state import load_members  # noqa: PLC0415
    from wixvisitor.testing._stand_in.state import load_state, resumed_time  # noqa: PLC0415
    from wixvisitor.testing._stand_in.upkeep import KEPT_CALLS  # noqa: PLC0415

    with _about(arguments.reload_state):
        state = file.read() if file is not None else None
        start = resumed_time(state, real_time=time.time()) if state is not None else None
    fake = FakeWix(
        clock=Clock(start=start, speed=arguments.speed),
        client_ids=arguments.client_id or None,
        access_token_lifetime=arguments.access_token_lifetime,
        rotate_refresh_tokens=arguments.rotate_refresh_tokens,
        products=_products(arguments.products),
        allowed_redirect_uris=arguments.redirect_uri or None,
        keep_calls=KEPT_CALLS,
    )
    fake.hosted_url = arguments.hosted_url
    fake.verify_emails = arguments.verify_emails
    if state is not None:
        with _about(arguments.reload_state):
            load_state(state, fake._visitors)
            load_members(state, fake._members, fake._visitors)
    return fake


def _upkeep(arguments: FakeArguments, fake: FakeWix, file: StateFile | None) -> Upkeep:
    from wixvisitor.testing._stand_in.upkeep import Changes, Upkeep  # noqa: PLC0415 - needs the extra

    upkeep = Upkeep(fake=fake, changes=Changes(), kept_visitors=arguments.max_visitors, file=file, complain=complain)
    if file is not None:
        with _about(file.path):
            upkeep.save_now()  # a file that cannot be written is an error at the start
    return upkeep


def _products(path: Path | None) -> list[Product] | None:
    from wixvisitor.testing._stand_in.product_file import read_products  # noqa: PLC0415 - needs the extra

    if path is None:
        return None
    try:
        return read_products(path)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


@contextmanager
def _locked(path: Path) -> Iterator[StateFile]:
    from wixvisitor.testing._stand_in.state_file import StateFile  # noqa: PLC0415 - needs the extra

    file = StateFile(path)
    with _about(path):
        file.__enter__()
    try:
        yield file
    finally:
        file.__exit__(None, None, None)


@contextmanager
def _about(path: Path | None) -> Iterator[None]:
    """Turns what the file's functions raise into a ``StorageError`` that names the file."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise StorageError(f"{path}: {error}. It is left as it is.") from None


@contextmanager
def _about_the_port(arguments: FakeArguments) -> Iterator[None]:
    """Turns the system's error into a message that says which port."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"cannot listen on port {arguments.port} of {arguments.host}: {reason}; choose another with --port"
        ) from None
