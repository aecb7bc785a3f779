"""What the documentation shows is what happens: its commands exist, and those that need no emulation are run.

Conventions of a page. A fenced block with `file=NAME` behind its language is written to that file, in a folder of the
page's own. In a `console` block, `$ bin/wardrop ...` is a command and what follows is what it prints, `...` standing
for any lines; commands that need neither root nor much time are run in the order of the page, and what they print is
compared. Everything else that begins with `bin/wardrop`, wherever it stands, has a command and options that there are.
"""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import synthetic
import typer
import yaml

from experiments.commands import cli
from pricing.policy import POLICIES

HOME = Path(__file__).resolve().parent.parent
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").rglob("*.md"))]
LAUNCHER = {"setup", "test"}
QUICK = {"check", "compare", "export", "import", "list", "market", "new", "show", "solve"}
"""Commands that are run; the rest emulates, takes long, or opens a page."""

LONG = {"joint-priority"}
"""Words of commands that another test runs on a smaller network."""

GIVEN = {"a.json", "b.json"}
"""Result files that runs on packets leave behind, as pages name them."""

FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def name(page: Path) -> str:
    """A page as it is called from the checkout."""
    return str(page.relative_to(HOME))


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, what stands behind it, and text of each fenced block."""
    return [(found[1], found[2].strip(), found[3]) for found in FENCE.finditer(page.read_text())]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of ours: in a block of its own line, or in running text between backticks."""
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^(?: {4}|\$ |)(?:sudo )?(?:\S*/)?bin/wardrop ([^\n]*)", text, re.MULTILINE)
    lines += re.findall(r"`(?:sudo )?bin/wardrop ([^`\n]*)`", text)
    for line in lines:
        lexer = shlex.shlex(line.strip("`"), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = []
        for word in lexer:
            if word in {"|", "||", "&", "&&", ";", ">", "<"}:
                break
            words.append(word)
        yield words


@pytest.fixture(scope="module")
def group() -> Any:
    importlib.import_module("experiments.__main__")  # adds every command
    return typer.main.get_command(cli.app)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path, group: Any) -> None:
    wrong = []
    for words in commands(page):
        if not words or words[0] in LAUNCHER | {"--help", "COMMAND", "..."}:
            continue
        command = group.commands.get(words[0])
        if command is None:
            wrong.append(f"no command {words[0]}")
            continue
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        wrong += [
            f"{words[0]} has no {word}"
            for word in words[1:]
            if word.startswith("--") and word.partition("=")[0] not in options | {"--help"}
        ]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_are_what_they_say(page: Path) -> None:
    for language, _, text in blocks(page):
        if language == "python" and ">>> " not in text:
            compile(text, name(page), "exec")
        if language == "yaml":
            yaml.safe_load(text)
        if language == "json":
            json.loads(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in; policies that commands name are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = dict(POLICIES)
    yield tmp_path
    POLICIES.clear()
    POLICIES.update(before)


def indented(page: Path) -> Iterator[list[str]]:
    """Quick commands in a block without what they print, that need no file but those that the page's own make."""
    made = set(GIVEN)
    for line in re.findall(r"^ {4}bin/wardrop ([^\n]*)", page.read_text(), re.MULTILINE):
        words = shlex.split(line, comments=True)
        files = {word for word in words if re.fullmatch(r"[\w-]+\.(yaml|json|jsonl|py)", word)}
        to = {after for word, after in pairwise(words) if word in ("--to", "--out", "--json")}
        to |= set(words[1:2]) if words[0] == "new" else set()
        shape = any(re.fullmatch(r"[A-Z]+(\.\w+)?|\[.*", word) for word in words)
        if words[0] in QUICK and not shape and not LONG & set(words) and files <= made | to:
            made |= to
            yield words


@pytest.mark.parametrize("page", [page for page in PAGES if list(indented(page))], ids=name)
def test_commands_end_well(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, group: Any) -> None:
    for words in indented(page):
        for file in GIVEN & set(words):
            (folder / file).write_text(json.dumps(synthetic.report()))
        monkeypatch.setattr(sys, "argv", ["wardrop", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code, words


@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in page.read_text()], ids=name)
def test_output_is_what_the_page_shows(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: Any
) -> None:
    checker = doctest.OutputChecker()
    for language, behind, text in blocks(page):
        if behind.startswith("file="):
            (folder / behind.removeprefix("file=")).write_text(text)
        if ">>> " in text:
            session = doctest.DocTestParser().get_doctest(text, {}, name(page), None, None)
            assert not doctest.DocTestRunner(checker).run(session).failed
        if language != "console":
            continue
        for line, wanted in re.findall(r"^\$ bin/wardrop ([^\n]+)\n((?:(?!\$ )[^\n]*\n)*)", text, re.MULTILINE):
            words = shlex.split(line, comments=True)
            if words[0] not in QUICK:
                continue
            monkeypatch.setattr(sys, "argv", ["wardrop", *words])
            with pytest.raises(SystemExit):
                cli.main()
            out, err = capsys.readouterr()
            said = f"bin/wardrop {line}\nsays\n{out}{err}\nand the page\n{wanted}"
            assert checker.check_output(wanted, out + err, SAME), said
