"""Policies of one's own: found, run, and refused with a message that says where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_networks import abilene

from pricing.errors import WardropError
from pricing.own import code, named
from pricing.policy import POLICIES, get_policy, solve

HEAD = """
from __future__ import annotations
from dataclasses import dataclass, replace
from pricing.network import Allocation
from pricing.policy import POLICIES

@dataclass
class Seen:
    ticks: int

def mine(network, loads, state):
    "Somebody else's, counted."
    decision = POLICIES["ecmp"].decide(network, loads, None)
    splits = dict(decision.allocation.splits)
"""
GOOD = "return replace(decision, state=Seen(state.ticks + 1 if state else 1))"

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Writes a policy that ends with some lines; gives how it is named. What was named is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = dict(POLICIES)

    def write(*lines: str) -> str:
        Path("own.py").write_text(HEAD + "".join(f"    {line}\n" for line in lines))
        return "own.py:mine"

    yield write
    POLICIES.clear()
    POLICIES.update(before)


def test_a_file_that_is_named_is_a_policy_from_then_on(make: Make) -> None:
    text, network = make(GOOD), abilene()
    with pytest.raises(WardropError, match="unknown policy"):
        get_policy(text)  # what comes as data names no file
    policy = named(text)
    assert (policy.name, policy.summary) == (text, "Somebody else's, counted.")
    assert get_policy(text) is named(text) is policy
    mine, equal = solve(network, policy), solve(network, named("ecmp"))
    assert mine.allocation == equal.allocation
    assert mine.settled
    before = code(text)
    make("state = 3", GOOD)
    assert "" == code("ecmp") != before != code(text)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("return 1 / 0",), "own.py:mine: line 15: ZeroDivisionError: division by zero"),
        (("return decision.allocation",), "returned Allocation; a pricing.values.Decision is accepted"),
        (("del splits['s-Atlanta']", "splits['x'] = ()"), "s-Atlanta: has no routes.*\n.*x: unknown.*\n"),
        (("splits['s-Seattle'] *= 2",), "s-Seattle: weights .*; above 0 and 1 in all"),
        (
            ("route = replace(splits['s-Denver'][0][0], links=(('A', 'B'),))", "splits['s-Denver'] = ((route, 1.0),)"),
            r"s-Denver: route A>B@\w+: \('A', 'B'\) is not in the network",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_said(make: Make, lines: tuple[str, ...], said: str) -> None:
    policy = named(make(*lines, "return replace(decision, allocation=Allocation(splits))"))
    with pytest.raises(WardropError, match=said):
        solve(abilene(), policy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("own.py:other", "own.py has no function 'other'"),
        ("own.py:Seen", "own.py has no function 'Seen'"),
        ("nothing.py:mine", "No such file"),
        ("jiont", "did you mean 'joint'"),
        ("short.py:mine", r"found mine\(network\); mine\(network, loads, state\) -> Decision is accepted"),
        ("broken.py:mine", "line 2: SyntaxError"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(make: Make, text: str, said: str) -> None:
    make(GOOD)
    Path("short.py").write_text("def mine(network): ...\n")
    Path("broken.py").write_text("import math\ndef mine(\n")
    with pytest.raises(WardropError, match=said):
        named(text)
    assert text not in POLICIES
