"""The page of a paper: sections of tables and pictures, written as CSV, PNG, HTML, Markdown and JSON.

A `Page` is a value. `write` puts it into a folder: `NAME.csv` for each table and each picture's data, with all digits;
`NAME.png` for each picture, to print; `index.html`, which needs no other file; `index.md`, which shows the PNG. What
it returns is the same as JSON, for `--json`. A cell whose value is unknown is `None`: empty in CSV, null in JSON.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.table import Table as Grid

from experiments.pages.colours import stylesheet
from experiments.pages.style import drawn, svg
from pricing.errors import WardropError

TEMPLATES = Path(__file__).parent / "templates"
DPI = 200
"""Of the PNG."""

Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    key : str
        Its name in CSV and JSON; a unit is the name's end, such as `delay_s`.
    head : str
        Its name on the page.
    form : str or function
        Its numbers on the page: Python's format, or what makes them text. Columns without one hold text.
    """

    key: str
    head: str
    form: str | Callable[[float], str] = ""


@dataclass(frozen=True)
class Table:
    """Rows of values, named `name` on disk; each row is as long as `columns`."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]

    def shown(self) -> Iterator[list[str]]:
        """The rows as text for people."""
        for row in self.rows:
            yield [_text(value, column.form) for value, column in zip(row, self.columns, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Title, column keys, and rows."""
        return {"title": self.title, "columns": [column.key for column in self.columns], "rows": self.rows}


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when it is written, and the numbers in it; `data` carries the name on disk."""

    title: str
    caption: str
    data: Table
    draw: Callable[[], Figure]

    @property
    def sources(self) -> str:
        """What the column `source` of its data holds."""
        index = [column.key for column in self.data.columns].index("source")
        return "; ".join(dict.fromkeys(str(row[index]) for row in self.data.rows))


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, then tables and pictures."""

    title: str
    text: Sequence[str] = ()
    parts: Sequence[Table | Picture] = ()


@dataclass(frozen=True)
class Page:
    """All of a paper: `paper` is its short name, `sources` says what each word in a column `source` means.

    `command` makes it again, and `versions` are those of the programs that did.
    """

    paper: str
    title: str
    citation: str
    text: Sequence[str]
    sources: Mapping[str, str]
    sections: Sequence[Section]
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        """Every table and every picture's data, in order; what is both shown and drawn, once."""
        parts = [part for section in self.sections for part in section.parts]
        return list({data.name: data for data in map(_data, parts)}.values())

    def as_json(self) -> dict[str, Any]:
        """All numbers of the page."""
        tables = {table.name: table.as_json() for table in self.tables}
        made = {"schema": "wardrop-paper-1", "paper": self.paper, "command": self.command}
        return made | {"versions": dict(self.versions), "sources": dict(self.sources), "tables": tables}


def prepare(folder: Path) -> None:
    """Make the folder, before anything is computed for it.

    Raises
    ------
    WardropError
        When it cannot be made.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(page: Page, folder: Path) -> None:
    """Write the page and all its files into `folder`, which is there.

    Raises
    ------
    WardropError
        When a file cannot be written.
    """
    with _writing(folder):
        for table in page.tables:
            _write_csv(table, folder / f"{table.name}.csv")
        pictures = {
            part.data.name: _render(part.draw, part.title, folder / f"{part.data.name}.png")
            for section in page.sections
            for part in section.parts
            if isinstance(part, Picture)
        }
        loader = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        loader.tests["picture"] = lambda part: isinstance(part, Picture)
        for name in ("html", "md"):
            text = loader.get_template(f"paper.{name}.j2").render(
                page=page, colours=Markup(stylesheet()), pictures=pictures
            )
            (folder / f"index.{name}").write_text(text, encoding="utf-8")


def for_terminal(table: Table) -> Grid:
    """The table for a terminal; numbers stand right."""
    grid = Grid(title=table.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in table.columns:
        grid.add_column(column.head, justify="right" if column.form else "left")
    for row in table.shown():
        grid.add_row(*row)
    return grid


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        wanted = "a folder that can be made and written is accepted"
        raise WardropError(f"--out {folder}: {error.strerror}; {wanted}") from error


def _data(part: Table | Picture) -> Table:
    return part if isinstance(part, Table) else part.data


def _write_csv(table: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.key for column in table.columns])
        writer.writerows(table.rows)


@drawn
def _render(draw: Callable[[], Figure], title: str, path: Path) -> str:
    """Write the PNG, white for print, and return the SVG for the page."""
    figure = draw()
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    figure.set_layout_engine("none")  # laid out already
    return svg(figure, title)


def _text(value: Value, form: str | Callable[[float], str]) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return (format(value, form) if isinstance(form, str) else form(value)).replace("-", "−")
