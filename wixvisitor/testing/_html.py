"""The hosted pages as HTML: plain pages that need no script. Pure.

Every text from outside goes through ``escaped`` or ``quoted``.
"""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from typing import Final

from starlette.responses import HTMLResponse, Response

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #f4f5f9; --card: #fff; --ink: #181a24; --soft: #5a6072; --line: #dcdfe9; --field: #8a90a3;
  --accent: #4338ca; --on-accent: #fff; --bad: #b42323;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11131a; --card: #1a1d27; --ink: #eef0f7; --soft: #a4abbe; --line: #2e3342; --field: #737a90;
    --accent: #a5b0ff; --on-accent: #14162b; --bad: #ff8f8a;
  }
}
body { margin: 0; padding: 6vh 1rem 2rem; background: var(--ground); color: var(--ink); }
body { font: 1rem/1.5 system-ui, sans-serif; }
main, footer { box-sizing: border-box; max-width: 26rem; margin: 0 auto; }
main { padding: 1.5rem; border: 1px solid var(--line); border-radius: 14px; background: var(--card); }
main { overflow-wrap: anywhere; }
h1 { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.2; }
p { margin: .8rem 0; }
a { color: var(--accent); }
label { display: block; margin: 0 0 1rem; color: var(--soft); font-size: .9rem; }
input { display: block; box-sizing: border-box; width: 100%; min-height: 2.75rem; }
input { border: 1px solid var(--field); border-radius: 9px; background: var(--card); color: var(--ink); font: inherit; }
input { margin-top: .25rem; padding: .4rem .7rem; font-size: 1rem; }
button { min-height: 2.75rem; margin: .25rem .3rem .25rem 0; padding: .4rem 1rem; font: inherit; cursor: pointer; }
button { border: 1px solid var(--field); border-radius: 9px; background: var(--card); color: var(--ink); }
button.main { border-color: transparent; background: var(--accent); color: var(--on-accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { width: 100%; margin: 1rem 0; border-collapse: collapse; }
td, th { padding: .5rem .5rem .5rem 0; border-bottom: 1px solid var(--line); text-align: left; }
th { color: var(--soft); font-size: .9rem; font-weight: 400; }
td:last-child, th:last-child { padding-right: 0; text-align: right; font-variant-numeric: tabular-nums; }
tr:last-child td { border: 0; font-weight: 600; }
.wrong { padding: .5rem .8rem; border-left: 4px solid var(--bad); color: var(--bad); }
footer { padding: 1rem 1.5rem; color: var(--soft); font-size: .875rem; }
"""
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
<footer>This page is FakeWix's. It stands for the one that Wix hosts.</footer>
</body>
</html>
"""
_MESSAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Login</title></head>
<body><script>{script}</script></body>
</html>
"""
_PLAIN: Final = re.compile(r"[^A-Za-z0-9 .,:/_~+=*-]")


def escaped(text: str) -> str:
    """A text from outside for HTML, also within an attribute."""
    return html.escape(text.encode(errors="replace").decode())  # JSON can hold half surrogate pairs


def page(title: str, body: str, *, status: int = 200) -> Response:
    """A page that cannot be framed. ``body`` is HTML.

    It has no ``form-action``: Chromium applies it to the redirect after a form as well, and that leads to the shop.
    """
    text = _PAGE.format(title=escaped(title), style=_STYLE, body=body)
    policy = f"default-src 'none'; style-src '{_hash(_STYLE)}'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(text, status, headers=_headers(policy))


def notice(title: str, text: str, *, status: int = 200, link: tuple[str, str] | None = None) -> Response:
    """A page with a text, and a link: its address and its text."""
    body = f"<p>{escaped(text)}</p>"
    if link is not None:
        body += f'\n<p><a href="{escaped(link[0])}">{escaped(link[1])}</a></p>'
    return page(title, body, status=status)


def message_page(content: Mapping[str, str], origin: str) -> Response:
    """The page of the response mode ``web_message``: it posts the content to the page that has opened or framed it.

    The format is the one that ``@wix/sdk``'s listener takes, and that Wix's example for servers reads from the text.
    """
    items = ", ".join(f"'{name}': '{quoted(value)}'" for name, value in content.items())
    script = f"(window.opener || window.parent).postMessage({{{items}}}, '{quoted(origin)}');"
    policy = f"default-src 'none'; script-src '{_hash(script)}'; base-uri 'none'"
    return HTMLResponse(_MESSAGE.format(script=script), headers=_headers(policy))


def quoted(text: str) -> str:
    """A text from outside for a string in a script, between single quotes."""
    return _PLAIN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _headers(policy: str) -> dict[str, str]:
    return {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex",
    }
