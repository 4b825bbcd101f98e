"""The parts of the package's metadata that name the project's address: its URLs, and the README's links.

hatchling calls this while it builds. The address stands in one place: ``[tool.hatch.metadata.hooks.custom]`` in
pyproject.toml. On PyPI a relative link or picture of the README would lead nowhere, so it becomes an absolute one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)\s]+)")
_PICTURE = re.compile(r'((?:src|srcset)=")(?!https?://)([^"\s]+)')


class Metadata(MetadataHookInterface):
    """Adds ``urls`` and ``readme``, which pyproject.toml lists as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds them."""
        repository = self.config["repository"]
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["urls"] = urls(repository)
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(text, repository, f"v{metadata['version']}"),
        }


def urls(repository: str) -> dict[str, str]:
    """Returns the project's URLs, with the names that PyPI knows."""
    return {
        "Homepage": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Source": repository,
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Returns a page whose relative links and pictures lead to the repository, as it is at this tag."""
    text = _LINK.sub(rf"\g<1>{repository}/blob/{tag}/\g<2>", text)
    return _PICTURE.sub(rf"\g<1>{repository}/raw/{tag}/\g<2>", text)
