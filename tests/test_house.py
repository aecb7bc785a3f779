"""The laws of the house: which way imports point, how long a module is, and what the files never say."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
ROOMS = ("pricing", "controller", "topologies", "experiments")
MODULES = sorted(file for room in ROOMS for file in (HOME / room).rglob("*.py"))

MAY_IMPORT = {
    "pricing": {"pricing"},
    "topologies": {"topologies", "pricing"},
    "controller": {"controller", "topologies", "pricing"},
    "experiments": set(ROOMS),
}
"""Which rooms each room may import from."""

ONLY_IN = {
    # `mn` executes the plugin, and topologies.mn is what it gets from there: classes of Mininet's
    "mininet": {
        "topologies/emulation.py",
        *(f"topologies/mn/{module}.py" for module in ("control", "nodes", "pricing", "prompt", "survey", "topo")),
    },
    "os_ken": {"controller/framework.py"},
    "ryu": {"controller/framework.py"},
    "eventlet": {"controller/framework.py"},
}
"""Packages that few modules may import."""

LONGEST = 500
"""Lines that a module may have."""


def name(file: Path) -> str:
    """A file as it is called from the checkout."""
    return str(file.relative_to(HOME))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of all that a module imports, wherever it does so, by its string too."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield node.lineno, module
            case ast.ImportFrom():
                yield node.lineno, f"a relative import ({ast.unparse(node)})"
            case ast.Call(func=called, args=[ast.Constant(value=str(module)), *_]) if "import" in ast.unparse(called):
                yield node.lineno, module


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_imports_point_one_way(file: Path) -> None:
    room = file.relative_to(HOME).parts[0]
    wrong = []
    for line, module in imports(file):
        package = module.split(".")[0]
        if package in ROOMS and package not in MAY_IMPORT[room]:
            wrong.append(f"{name(file)}:{line} imports {module}")
        if package in ONLY_IN and name(file) not in ONLY_IN[package]:
            wrong.append(f"{name(file)}:{line} imports {module}, which belongs into {sorted(ONLY_IN[package])}")
        assert not module.startswith("a relative"), f"{name(file)}:{line}: {module}"
    assert not wrong


def test_mathematics_runs_anywhere() -> None:
    """No sockets, clocks, processes or OpenFlow in pricing."""
    banned = {"socket", "subprocess", "threading", "time", "os", "asyncio", "multiprocessing", "signal", "random"}
    found = [
        f"{name(file)}:{line} imports {module}"
        for file in MODULES
        if file.relative_to(HOME).parts[0] == "pricing"
        for line, module in imports(file)
        if module.split(".")[0] in banned
    ]
    assert not found


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_modules_are_short_and_say_what_they_are(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= LONGEST
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module, an __init__ too, opens with what it is"
    bare = [
        f"{name(file)}:{node.lineno} {node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare, "public names without a docstring"


def test_every_error_is_in_one_tree() -> None:
    trees = {file: ast.parse(file.read_text()) for file in MODULES if file.name != "errors.py"}
    strays = [
        f"{name(file)}:{node.lineno} {node.name}"
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(re.search(r"(Error|Exception)$", ast.unparse(b)) for b in node.bases)
    ]
    assert not strays, "exceptions live in pricing/errors.py"


def sources() -> Iterator[Path]:
    """Every text file of the checkout that somebody wrote; a copy without its history will do."""
    for file in sorted(HOME.rglob("*")):
        parts = file.relative_to(HOME).parts
        hidden = any(part.startswith(".") for part in parts) and parts[0] not in {".ci", ".gitignore"}
        made = parts[0] == "out" or "__pycache__" in parts or file.suffix in {".png", ".npy", ".pcap"}
        if file.is_file() and not hidden and not made:
            yield file


def test_files_speak_of_the_project_alone() -> None:
    # Put together here, so that this file does not say them itself: places of one workplace, hosts of registries.
    halves = [("/wo", "rk/"), ("shared", "/papers"), ("shared", "/house"), ("shared", "/test"), ("shared", "/data")]
    halves += [("py", "pi.org"), ("pythonhost", "ed.org"), ("deb.deb", "ian.org"), ("npm", "js.")]
    never = [re.escape(start + end) for start, end in halves]
    said = [
        f"{name(file)}:{number}: {line.strip()[:80]}"
        for file in sources()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if re.search("|".join(never), line)
    ]
    assert not said


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_locks_hold_versions_and_no_addresses(lock: str) -> None:
    lines = [line for line in (HOME / lock).read_text().splitlines() if not line.startswith("#")]
    pinned = re.compile(r"[\w.-]+==[\w.!+]+(; python_version [<>=]+ '[\d.]+')?")
    assert not [line for line in lines if not pinned.fullmatch(line)]


def test_all_that_is_declared_is_locked() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(lines: list[str]) -> set[str]:
        heads = (re.match(r"[\w.-]+", line) for line in lines if not line.startswith("#"))
        return {re.sub(r"[-_.]+", "-", head[0]).lower() for head in heads if head}

    run = names((HOME / "requirements.lock").read_text().splitlines())
    test = names((HOME / "requirements-test.lock").read_text().splitlines())
    assert names(project["dependencies"] + extras["ryu"] + extras["build"]) <= run
    assert names(extras["test"]) <= test
    assert not run & test
