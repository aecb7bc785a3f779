"""A scenario file to start from: `starter.yaml`, under a name of one's own."""

from __future__ import annotations

from pathlib import Path

from topologies.importers.survey import tidy

HERE = Path(__file__).parent

SCHEMA = HERE / "scenario.schema.json"
"""JSON schema of scenario files, for editors; `python -m topologies.starter` writes it anew."""


def starter(name: str) -> str:
    """The text of a commented scenario file that passes every check.

    Parameters
    ----------
    name : str
        What it is called, made a name that scenarios accept.
    """
    text = (HERE / "starter.yaml").read_text(encoding="utf-8")
    return text.replace("SCHEMA", str(SCHEMA), 1).replace("name: NAME", f"name: {tidy([name])[0]}", 1)


def schema_text() -> str:
    """What `SCHEMA` has to hold."""
    import json

    from topologies.scenario import json_schema

    return json.dumps(json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
