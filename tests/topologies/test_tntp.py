"""Reading TNTP files, on a small network of our own: Braess's, with zones that nobody passes through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pricing.errors import ScenarioError
from pricing.joint.equilibrium import anarchy
from topologies.tntp import read_road_network

NET = """<NUMBER OF ZONES> 2
<NUMBER OF NODES> 5
<FIRST THRU NODE> 3
<NUMBER OF LINKS> 7
<END OF METADATA>

~ tail head capacity length time b power speed toll type ;
 1 3 1 0 0.000001 1000000 1 0 0 1 ;
 1 4 1 0 1        0       1 0 0 1 ;
 3 2 1 0 1        0       1 0 0 1 ;
 4 2 1 0 0.000001 1000000 1 0 0 1 ;
 3 4 1 0 0        0       1 0 0 1 ;
 1 5 1 0 100      0.15    4 0 0 1 ;
 2 5 1 0 100      0.15    4 0 0 1 ;
"""
TRIPS = """<NUMBER OF ZONES> 2
<TOTAL OD FLOW> 1.0
<END OF METADATA>

Origin 1
    1 :    5.0;    2 :    1.0;
Origin 2
    1 :    0.0;
"""
FLOW = """From To Volume Cost
1 3 1 1
3 4 1 0
4 2 1 1
1 4 0 1
3 2 0 1
1 5 0 100
2 5 0 100
"""


def write(home: Path, **texts: str) -> Path:
    for part, text in texts.items():
        (home / f"small_{part}.tntp").write_text(text)
    return home


def test_it_is_braess(tmp_path: Path) -> None:
    road = read_road_network(write(tmp_path, net=NET, trips=TRIPS, flow=FLOW), "small")
    assert road.rates.tolist() == [1.0]
    assert road.space.through.tolist() == [False, False, True, True, True]
    found = anarchy(road.space, road.law, road.rates, gap=1e-10)
    assert found.price == pytest.approx(4 / 3, rel=1e-4)
    assert road.best is not None
    np.testing.assert_allclose(found.selfish.loads, road.best, atol=1e-4)


def test_a_directory_of_its_own_and_no_flows(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    write(tmp_path / "small", net=NET, trips=TRIPS)
    assert read_road_network(tmp_path, "small").best is None


@pytest.mark.parametrize(
    ("part", "old", "new", "said"),
    [
        ("net", "<END OF METADATA>", "", "no <END OF METADATA>"),
        ("net", "<FIRST THRU NODE> 3", "", "no <FIRST THRU NODE>"),
        ("net", "<NUMBER OF LINKS> 7", "<NUMBER OF LINKS> 8", "found 7 links; accepted: 8"),
        ("net", "1 4 1 0 1 ", "1 9 1 0 1 ", "link 2: found the ends 1 and 9; accepted: nodes, 1 to 5"),
        ("net", "1 4 1 0 1 ", "1 4 -1 0 1 ", "negative or not finite"),
        ("net", "1 4 1 0 1 ", "1 4 1 0 nan ", "negative or not finite"),
        ("net", "1 4 1 0 1 ", "1 4 1 0 x ", "accepted: numbers"),
        ("trips", "2 :    1.0", "2 :   -1.0", "Origin 1, destination 2: found -1.0; accepted: a number from 0"),
        ("trips", "2 :    1.0", "3 :    1.0", "Origin 1, destination 3: accepted: a zone, 1 to 2"),
        ("net", "1 4 1 0 1 ", "1.5 4 1 0 1 ", "link 2: found the ends 1.5 and 4"),
        ("net", "<NUMBER OF NODES> 5", "<NUMBER OF NODES> 999999999999", "found 999999999999; accepted: at most 14"),
        ("net", "<NUMBER OF ZONES> 2", "<NUMBER OF ZONES> 6", "found 6; accepted: at most 5, as zones are nodes"),
        ("trips", "Origin 2", "Origin two", "Origin: found 'two'; accepted: a zone, 1 to 2"),
        ("trips", "2 :    1.0", "2      1.0", "accepted: a zone, 1 to 2, then a colon"),
        ("trips", "2 :    1.0", "2 :    nan", "found nan"),
        ("flow", "3 4 1 0\n", "", "no flow from 3 to 4"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, part: str, old: str, new: str, said: str) -> None:
    texts = {"net": NET, "trips": TRIPS, "flow": FLOW}
    assert old in texts[part]
    texts[part] = texts[part].replace(old, new)
    with pytest.raises(ScenarioError, match=said):
        read_road_network(write(tmp_path, **texts), "small")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    net = NET.replace("1 3 1 0", "1 9 -1 0").replace("3 2 1 0 1 ", "3 2 1 0 x ").replace("LINKS> 7", "LINKS> 8")
    with pytest.raises(ScenarioError) as caught:
        read_road_network(write(tmp_path, net=net, trips=TRIPS), "small")
    for problem, beginning in zip(
        caught.value.problems, ["found 7 links", "link 1: found the ends", "link 1: found a cap", "link 3"], strict=True
    ):
        assert problem.startswith(beginning)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_road_network(tmp_path, "small")
