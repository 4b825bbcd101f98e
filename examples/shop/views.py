"""How pages are rendered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

FOR_ALL: Final = {"Cache-Control": "public, max-age=60"}
"""What an answer says that is the same for everybody: caches may keep it for a minute."""

HERE: Final = Path(__file__).parent
_templates: Final = Jinja2Templates(HERE / "templates")


def duration(seconds: int | None) -> str:
    """Returns a time span as people say it; ``app.js`` has the same."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


_templates.env.filters["duration"] = duration


def show(
    request: Request, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> Response:
    """Returns a page."""
    return _templates.TemplateResponse(request, name, values, status_code=status, headers=headers)
