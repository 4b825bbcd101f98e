"""Does what a page tells its reader: writes files, types into terminals, clicks in browsers, and compares the output.

What a page may tell:

- ``python title="shop.py"`` is a file. ``(add at the end)`` adds to it, after two empty lines; ``(in place of main)``
  replaces one function.
- ``sh title="Terminal 1"`` is typed there, and each command ends. In other terminals the last command is a server: the
  next block for that terminal comes after Ctrl-C. Terminals but the first begin in the folder of the first.
- A numbered list is what the reader does in a browser: Open <address>, Press **button** [beside "text"], Type `text`
  into **label**; in another browser where it says "private window". Where it says "reload", the page is loaded again
  until it is as shown.
- ``text title="Browser"`` is what the page shows then, and ``text`` is what the last terminal printed, or the one in
  its title. White space does not count, and ``…`` is anything.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.docs.blocks import TOP, Block, blocks_of
from tests.docs.terminals import Terminal
from tests.docs.web_browsers import Browser

_ITEM = re.compile(r"^\d+\. (?P<text>.+(?:\n   .+)*)", re.MULTILINE)
_ACTION = re.compile(
    r"[Oo]pen <(?P<url>[^>]+)>"
    r'|[Pp]ress \*\*(?P<button>[^*]+)\*\*(?: beside "(?P<beside>[^"]+)")?'
    r"|[Tt]ype `(?P<typed>[^`]+)` into \*\*(?P<label>[^*]+)\*\*"
)
_PATIENCE = 30.0  # seconds, on a busy machine


@attrs.frozen
class Item:
    """One item of a numbered list."""

    line: int
    text: str


def parts_of(page: str) -> list[Block | Item]:
    """Returns the blocks and the numbered items of a page, in order."""
    blocks = list(blocks_of(page))
    inside = {line for block in blocks for line in range(block.line, block.line + block.code.count("\n") + 2)}
    text = (TOP / page).read_text(encoding="utf-8")
    items = [Item(text.count("\n", 0, found.start()) + 1, found["text"]) for found in _ITEM.finditer(text)]
    return sorted([*blocks, *(item for item in items if item.line not in inside)], key=lambda part: part.line)


def is_as_shown(shown: str, real: str) -> bool:
    """Whether the output is what the page shows."""
    pieces = [" ".join(piece.split()) for piece in shown.split("…")]
    return re.fullmatch(".*".join(map(re.escape, pieces)), " ".join(real.split()), re.DOTALL) is not None


@attrs.define
class Reader:
    """Who follows a page, in an empty folder.

    Args:
        place: the folder.
        folder: the name of the one that the page makes in it.
        adapted: what is typed and opened in place of what the page says, such as other ports.
        new_browser: opens a window of a browser.
    """

    place: Path
    folder: str
    environment: Mapping[str, str]
    adapted: Callable[[str], str]
    new_browser: Callable[[], Browser]
    terminals: dict[str, Terminal] = attrs.field(factory=dict)
    browsers: dict[str, Browser] = attrs.field(factory=dict)
    _terminal: str = ""
    _browser: str = ""
    _item: str = ""  # of the list, the last one
    _prose: str = ""  # what stands before the part, for readers who see no titles

    def follow(self, page: str) -> None:
        """Does all that the page says."""
        lines, last = (TOP / page).read_text(encoding="utf-8").splitlines(), 0
        for part in parts_of(page):
            self._prose = "\n".join(lines[last : part.line - 1])
            last = part.line
            try:
                self._do(part)
            except Exception as error:
                error.add_note(f"{page}:{part.line}")
                raise

    def close(self) -> None:
        """Ends what still runs, each of them even if another one cannot be ended."""
        with ExitStack() as stack:
            for end in (
                *(browser.close for browser in self.browsers.values()),
                *(terminal.kill for terminal in self.terminals.values()),
            ):
                stack.callback(end)

    def _do(self, part: Block | Item) -> None:
        if isinstance(part, Item):
            self._click(part.text)
        elif part.language == "sh":
            self._run(part)
        elif part.language == "python":
            self._write(part)
        elif part.title == "Browser":
            browser = self.browsers[self._browser]
            self._compare(part, browser.text, browser.reload if "reload" in self._item else None)
            browser.keep(f"tutorial-{part.line}")
        else:
            self._compare(part, self.terminals[part.title or self._terminal].output)

    def _run(self, block: Block) -> None:
        assert block.title is not None, "say in which terminal"
        self._terminal = block.title
        if block.title not in self.terminals:
            is_first = not self.terminals
            self.terminals[block.title] = Terminal(
                self.place if is_first else self.place / self.folder,
                self.place / f"{block.title}.log",
                self.environment,
                serves=not is_first,
            )
        elif self.terminals[block.title].serves:
            assert "Ctrl-C" in self._prose, "the server still runs"
        self.terminals[block.title].run(self.adapted(block.code))

    def _write(self, block: Block) -> None:
        assert block.title is not None, "say which file"
        name, _, how = block.title.partition(" ")
        file, code = self.place / self.folder / name, self.adapted(block.code)
        function = how.removeprefix("(in place of ").removesuffix(")")
        assert f"`{name}`" in self._prose or f"function `{function}`" in self._prose, "say where this goes"
        if how == "(add at the end)":
            code = f"{file.read_text('utf-8')}\n\n{code}"
        elif how:
            code = replaced(file.read_text("utf-8"), function, code)
        file.write_text(code, "utf-8")

    def _click(self, text: str) -> None:
        self._item = text
        self._browser = "private" if "private window" in text else "first"
        if self._browser not in self.browsers:
            self.browsers[self._browser] = self.new_browser()
        browser, actions = self.browsers[self._browser], list(_ACTION.finditer(text))
        assert actions, f"this is nothing that a browser can do: {text}"
        for action in actions:
            if action["url"]:
                browser.open(self.adapted(action["url"]))
            elif action["button"]:
                browser.press(action["button"], action["beside"] or "")
            else:
                browser.type(action["typed"], action["label"])

    def _compare(self, block: Block, real: Callable[[], str], again: Callable[[], None] | None = None) -> None:
        """Waits until it is as shown. A server may need a moment, and a page a reload, if the text says so."""
        end, shown = time.monotonic() + _PATIENCE, self.adapted(block.code)
        while not is_as_shown(shown, real()):
            assert time.monotonic() < end, f"the page shows\n{shown}\nand there is\n{real()}\n{self._logs()}"
            time.sleep(0.05 if again is None else 0.5)
            if again is not None:
                again()

    def _logs(self) -> str:
        return "\n".join(f"{name}:\n{terminal.output()[-2000:]}" for name, terminal in self.terminals.items())


def replaced(source: str, name: str, code: str) -> str:
    """Returns the source with this function, and its decorators, replaced."""
    [found] = [node for node in ast.parse(source).body if getattr(node, "name", None) == name]
    assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    lines = source.splitlines(keepends=True)
    return "".join([*lines[: first - 1], code, *lines[found.end_lineno :]])
