"""The result file: what its schema accepts, and that each of its fields is documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from synthetic import groups_report, report

from experiments.result import schema
from pricing.errors import WardropError

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "report.md"


def fields(node: dict[str, Any], path: str) -> Iterator[str]:
    """Paths of all properties below a schema node; estimates and verdicts are documented once."""
    if node.get("$ref") == "#/$defs/estimate" or (path == "groups[].verdicts[]"):
        return
    if "$ref" in node:
        node = schema.schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") == "array":
        yield from fields(node["items"], f"{path}[]")
    for name, inner in node.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield below
        yield from fields(inner, below)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema.schema())


def test_every_field_is_documented_and_every_documented_field_exists() -> None:
    documented = set(re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE))
    defined = set(fields(schema.schema(), "")) | {f"estimate.{name}" for name in ("value", "ci95", "n")}
    parents = {re.sub(r"\[\]$", "", name.rsplit(".", 1)[0]) for name in defined}
    assert documented - defined == set()
    assert defined - documented - parents == set()


def test_each_estimate_says_that_it_is_one() -> None:
    estimates = {path for path in fields(schema.schema(), "") if path in set(_estimates(schema.schema(), ""))}
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert estimates == {path for path, unit in rows.items() if unit.startswith("estimate")}


def _estimates(node: dict[str, Any], path: str) -> Iterator[str]:
    if node.get("$ref") == "#/$defs/estimate":
        yield path
        return
    if "$ref" in node:
        node = schema.schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") == "array":
        yield from _estimates(node["items"], f"{path}[]")
    for name, inner in node.get("properties", {}).items():
        yield from _estimates(inner, f"{path}.{name}" if path else name)


def test_a_report_is_accepted_before_and_after_it_was_a_file() -> None:
    made = report()
    schema.check(made)
    schema.check(json.loads(json.dumps(made, allow_nan=False)))


def test_a_file_has_runs_or_groups() -> None:
    made = groups_report()
    schema.check(made)
    for wrong in (made | {"runs": report()["runs"]}, {key: made[key] for key in made if key != "groups"}):
        with pytest.raises(WardropError, match=r"'runs' is a required property|False schema does not allow"):
            schema.check(wrong)


def test_all_problems_are_told_at_once() -> None:
    made = report()
    made["seed"] = "seven"
    del made["machine"]["netem"]
    made["runs"][0]["links"][3]["capacity_bps"] = -1.0
    made["runs"][0]["objective"]["gap"] = float("nan")
    made["runs"][1]["colour"] = "red"
    with pytest.raises(WardropError) as caught:
        schema.check(made)
    message = str(caught.value)
    assert "5 found" in message
    assert "$.seed: 'seven' is not of type 'integer'" in message
    assert "'netem' is a required property" in message
    assert "$.runs[0].links[3].capacity_bps" in message
    assert "$.runs[0].objective.gap: nan is not JSON" in message
    assert "'colour' was unexpected" in message
