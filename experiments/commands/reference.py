"""The reference of the command line: `python -m experiments.commands.reference > docs/reference/commands.md`.

Typer writes it of the commands themselves; a test holds the page against them.
"""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from experiments.commands.cli import app

HEAD = """# The command line

Every command, as its `--help` has it: `python -m experiments.commands.reference` makes this page from the commands.
`bin/wardrop setup` and `bin/wardrop test` are the launcher's own. Fields of a command's JSON file are at the head of
its module in `experiments/commands/`.

"""


def page() -> str:
    """The whole page."""
    import experiments.__main__  # noqa: F401  adds every command to the app

    command = typer.main.get_group(app)
    command.commands = dict(sorted(command.commands.items()))
    said = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="bin/wardrop"), name="bin/wardrop")
    return HEAD + said[said.index("\n## ") + 1 :].strip().replace("```console\n$ ", "```text\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
