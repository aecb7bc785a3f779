"""The file to start from, the schema for editors, and the page that explains each field."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from pricing.errors import ScenarioError
from pricing.policy import POLICIES, solve
from topologies import schema
from topologies.checking import Loader
from topologies.scenario import json_schema, parse
from topologies.starter import SCHEMA, schema_text, starter

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "scenario.md"


def test_it_passes_every_check_and_can_be_solved() -> None:
    scenario = parse(starter("my network.v2"), Path("x.yaml"))
    assert scenario.name == "mynetwork-v2"
    assert solve(scenario.network, POLICIES["joint"]).evaluation.feasible
    assert solve(scenario.network, POLICIES["shortest-path"]).evaluation.feasible
    jsonschema.validate(yaml.safe_load(starter("x")), json_schema())


def test_what_stands_in_its_comments_is_accepted() -> None:
    text = starter("x")
    laws = re.findall(r"^#   ((?:size|arrivals): \{.*?\})  ", text, flags=re.MULTILINE)
    assert len(laws) == 3
    for law in laws:
        changed = text.replace("rate: 400 kbit/s}", f"rate: 400 kbit/s, {law}}}")
        assert parse(changed, Path("x.yaml")) != parse(text, Path("x.yaml")), law


def test_it_shows_every_section_and_explains_it() -> None:
    text = starter("x")
    for key in schema.keys(schema.ScenarioPart):
        assert re.search(rf"^(# )?{key}:", text, flags=re.MULTILINE), key
    named = re.search(r"\$schema=(.+)", text)
    assert named
    assert Path(named[1]) == SCHEMA


def test_the_schema_that_ships_is_current() -> None:
    assert SCHEMA.read_text() == schema_text(), "write it anew: python -m topologies.starter"


def fields() -> dict[str, bool]:
    """Every field of a scenario file as the page writes it, and whether it must be there."""
    found = {}
    for key, field in schema.ScenarioPart.model_fields.items():
        if key not in schema.PARTS:
            found[key] = field.is_required()
            continue
        step = {"cables": "[]", "links": "[]", "defaults": "", "control": ""}.get(key, ".NAME")
        for inner, part in schema.PARTS[key].model_fields.items():
            name = f"{key}{step}.{part.alias or inner}"
            if inner in ("size", "arrivals") or (key, inner) == ("users", "value"):
                laws = schema.PARTS[inner].model_fields
                found |= {f"{name}.{law}": field.is_required() for law, field in laws.items()}
            else:
                found[name] = part.is_required()
    return found


def test_every_field_is_on_the_page_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([^`]+)`( \*)? \|", PAGE.read_text().split("## Fields")[1].split("## From")[0], flags=re.M)
    assert {name: bool(star) for name, star in rows} == fields()


@pytest.mark.parametrize(("capacity", "refused"), [
    ("100 kbit/s", ""), ("1 Gbit/s", ""), ("333.333333 kbit/s", ""), ("7654321 bit/s", ""),
    ("99.9 kbit/s", "found 0.0999 Mbit/s; accepted: 100 kbit/s to 1 Gbit/s, because a full frame would take more"),
    ("10 Gbit/s", "found 10000 Mbit/s; accepted: 100 kbit/s to 1 Gbit/s, because a frame would take less time"),
])  # fmt: skip
def test_a_capacity_works_or_is_refused_with_the_reason(capacity: str, refused: str) -> None:
    text = starter("x").replace("capacity: 1.5 Mbit/s", f"capacity: {capacity}")
    if not refused:
        assert parse(text, Path("x.yaml"))
        return
    with pytest.raises(ScenarioError) as caught:
        parse(text, Path("x.yaml"))
    assert [problem.partition(": ")[2].startswith(refused) for problem in caught.value.problems] == [True, True]
    assert caught.value.problems[0].startswith("cables[1].capacity: ")


def test_a_node_in_norway_is_no_lie() -> None:
    said = "{on: off, NO: y, Falsetto: true, Tromso: FALSE}"
    expected = {"on": "off", "NO": "y", "Falsetto": True, "Tromso": False}
    assert Loader(said).get_single_data() == expected
