"""``python -m wixvisitor demo``: which Wix it is about, and where the visitor's file is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio

from wixvisitor._session import DEFAULT_BASE_URL, VisitorSession
from wixvisitor.cli import _demo_real
from wixvisitor.cli._arguments import Arguments
from wixvisitor.cli._facts import Setting
from wixvisitor.cli._story import Story
from wixvisitor.errors import ConfigurationError


def run(arguments: Arguments) -> int:
    """Returns 0 if every claim of the demo held, else 1.

    Raises:
        ConfigurationError: the arguments do not fit together.
        LifeFailed: one of the visitor's processes could not do its part.

    """
    client_id = arguments.client_id or arguments.environment_client_id
    if arguments.file is not None:
        return _perform(_own_file(arguments.file, client_id), client_id, arguments.base_url)
    with tempfile.TemporaryDirectory(prefix="wixvisitor-demo-") as directory:
        return _perform(Path(directory) / "visitor.json", client_id, arguments.base_url)


def _perform(file: Path, client_id: str | None, base_url: str | None) -> int:
    story = Story()
    if client_id:
        VisitorSession(client_id, base_url=base_url or DEFAULT_BASE_URL)  # says what is wrong with them
        setting = Setting(file=str(file), client_id=client_id, base_url=base_url or DEFAULT_BASE_URL)
        return 0 if anyio.run(_demo_real.perform, story, setting) else 1
    if base_url:
        raise ConfigurationError("--base-url needs --client-id: without one the demo brings its own stand-in for Wix")
    from wixvisitor.cli import _demo_fake  # noqa: PLC0415 - the real Wix needs no stand-in

    return 0 if anyio.run(_demo_fake.perform, story, file) else 1


def _own_file(path: str, client_id: str | None) -> Path:
    file = Path(path)
    if path.endswith(os.sep) or file.is_dir():
        raise ConfigurationError(f"--file {path}: expected the path of one visitor's file, this is a directory")
    if file.exists() and not client_id:
        raise ConfigurationError(f"--file {path}: exists, and the demo begins with a new visitor; give another path")
    return file
