"""What imports what: the wings stand in an order, and no optional package comes in by itself."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys

import pytest

from tools.imports import MODULES, TOP, imported, ours, row_of

# A module imports, when it is imported itself, only from rows above its own; a package is one row.
ORDER = (
    "_version",
    "_tokens",
    "errors",
    "_wire",
    "_tasks",
    "storage",
    "_http",
    "_blocking_proxy",
    "_checks",
    "_renewal",
    "_auth",
    "members",
    "_session",
    "_diagnose",
    "_status",
    "_pool",
    "blocking",
    "",  # wixvisitor/__init__.py
    "apis",
    "cookies",
    "_web",
    "web",
    "asgi",
    "fastapi",
    "aiohttp",
    "opentelemetry",
    "testing",
    "cli",
    "__main__",
)
PURE_ROWS = ("_version", "_tokens", "errors", "_wire", "_checks")
PURE_MODULES = (
    *(f"_http.{name}" for name in ("arguments", "encodings", "origins", "requests")),
    *(
        f"_renewal.{name}"
        for name in ("breaker", "changes", "decision", "doubts", "events", "lineage", "quota", "routes")
    ),
    *(f"apis.{name}" for name in ("_encoding", "_paging")),
    *(f"_web.{name}" for name in ("cross_site", "headers", "login_pages", "login_rules")),
    *(f"cookies.{name}" for name in ("_content", "_parts", "_spelling")),
)
IMPURE = {
    *("time", "asyncio", "anyio", "trio", "sniffio", "threading", "_thread", "multiprocessing", "queue"),
    *(
        "concurrent",
        "random",
        "secrets",
        "uuid",
        "socket",
        "ssl",
        "select",
        "os",
        "io",
        "pathlib",
        "tempfile",
        "shutil",
    ),
    *("subprocess", "logging", "filelock", "sqlite3"),
}
OPTIONAL = {
    *("httpx2", "aiohttp", "httpx_aiohttp", "starlette", "fastapi", "uvicorn", "rich", "trio", "redis", "graphql"),
    *("respx", "pytest", "hypothesis", "filelock", "key_value", "cryptography", "opentelemetry"),
    *("sqlalchemy", "greenlet"),
    "asyncio",  # long to import, and not needed before there is something to do
}


PURE = [module for module in MODULES if module.partition(".")[0] in PURE_ROWS or module in PURE_MODULES]


def test_the_walk_finds_imports():
    """The walk sees plain, relative and nested imports, and none that is for types only."""
    assert {"errors", "_tokens"} <= ours("_wire.token_endpoint")
    assert "testing._routes" in ours("testing._fake")
    assert "testing" not in ours("testing.plugin")
    assert "testing" in ours("testing.plugin", inside_functions=True)
    assert "httpx" not in imported("_wire.api_errors", inside_functions=True)


def test_every_module_has_a_row():
    """A new module at the top is given its place in the order above."""
    assert {row_of(module) for module in MODULES} - set(ORDER) == set()


def test_imports_go_up():
    """A module imports only from rows above its own, and from its own package."""
    edges = {(module, name) for module in MODULES for name in ours(module) if row_of(name) != row_of(module)}
    assert {edge for edge in edges if ORDER.index(row_of(edge[1])) >= ORDER.index(row_of(edge[0]))} == set()


def test_the_fake_knows_nothing_of_the_client():
    """What stands in for Wix shares no code with what is tested; only the contract knows the storage."""
    for module in [module for module in MODULES if row_of(module) == "testing" and module != "testing.plugin"]:
        others = {row_of(name) for name in ours(module, inside_functions=True)} - {"testing"}
        assert others <= ({"storage", "errors"} if module.startswith("testing._contract") else set()), module


def test_pure_modules():
    """A pure module imports no clock, no I/O, no lock and no chance, not even inside a function."""
    for module in PURE:
        names = imported(module, inside_functions=True)
        assert {name for name in names if name.partition(".")[0] in IMPURE} == set(), module
        assert ours(module, inside_functions=True) <= set(PURE), module


def test_pure_modules_read_no_clock():
    """What parses a date may know ``datetime``, but nothing pure asks it for the time."""
    for module in PURE:
        tree = ast.parse(MODULES[module].read_text("utf-8"))
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert read & {"now", "utcnow", "today"} == set(), module


def test_no_cycles():
    """No module imports itself in a roundabout way, a package's ``__init__`` and its parents included."""
    graph = {module: ours(module) - {module} for module in MODULES}
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in finished:
            for name in sorted(graph.get(module, ())):
                visit(name, (*path, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def python(program: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(TOP.parent)}
    for name in [name for name in environment if name.startswith(("COV_", "COVERAGE_"))]:
        del environment[name]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_brings_no_extra():
    """``import wixvisitor`` imports no optional package that its dependencies have not imported by themselves."""
    loaded = "sorted({name.partition('.')[0] for name in sys.modules})"
    before, after = json.loads(
        python(
            "import sys, json, anyio, attrs, httpx\n"
            f"before = {loaded}\n"
            "import wixvisitor, wixvisitor.storage\n"
            f"print(json.dumps([before, {loaded}]))"
        )
    )
    assert OPTIONAL & (set(after) - set(before)) == set()
    assert "wixvisitor" in after


def test_import_works_without_the_extras():
    """``import wixvisitor`` works where no optional package is installed at all."""
    blocked = sorted(OPTIONAL - {"filelock"})
    program = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport wixvisitor\nprint('works')"
    assert python(program) == "works\n"


def test_import_of_testing_brings_no_pytest():
    """The fake is for any program; pytest comes with the storage contract only."""
    program = (
        "import sys\nfrom wixvisitor.testing import FakeWix\nprint('pytest' in sys.modules)\n"
        "from wixvisitor.testing import StorageContract\nprint('pytest' in sys.modules)\n"
        "import wixvisitor.testing as testing\nprint(testing.StorageContract is StorageContract)"
    )
    assert python(program).split() == ["False", "True", "True"]


def test_contract_without_pytest():
    """Whoever asks for the contract without pytest is told what to install."""
    program = (
        "import sys\nsys.modules['pytest'] = None\nimport wixvisitor.testing\n"
        "try:\n    wixvisitor.testing.StorageContract\nexcept ImportError as error:\n    print(error)"
    )
    assert "needs pytest: pip install pytest" in python(program)


def test_unknown_name_in_testing():
    """A name that is not there is an AttributeError as everywhere."""
    from wixvisitor import testing

    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        testing.Nothing  # noqa: B018 - looking it up is the test


def test_public_names():
    """Everything in ``__all__`` is there."""
    for name in ("wixvisitor", "wixvisitor.storage", "wixvisitor.testing"):
        module = importlib.import_module(name)
        assert all(hasattr(module, public) for public in module.__all__)
        assert len(set(module.__all__)) == len(module.__all__)


def test_no_module_hides():
    """Every file is a module that pkgutil finds: no package lacks its ``__init__``."""
    found = {one.name.removeprefix("wixvisitor.") for one in pkgutil.walk_packages([str(TOP)], "wixvisitor.")}
    assert found | {""} == set(MODULES)


def test_apis_are_imported_one_by_one():
    """``import wixvisitor`` imports no API, and an API module neither another one nor any module of types."""
    program = (
        "import sys, json\nfrom wixvisitor import VisitorSession, VisitorPool\n"
        "before = [name for name in sys.modules if name.startswith('wixvisitor.apis')]\n"
        "import wixvisitor.apis.ecom.current_cart\n"
        "print(json.dumps([before, sorted(name for name in sys.modules if name.startswith('wixvisitor.apis'))]))"
    )
    before, after = json.loads(python(program))
    ours_by_hand = {f"wixvisitor.apis.{name}" for name in ("_encoding", "_paging", "_runtime")}
    assert before == []
    assert set(after) == {"wixvisitor.apis", "wixvisitor.apis.ecom", "wixvisitor.apis.ecom.current_cart", *ours_by_hand}
