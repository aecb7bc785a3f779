"""The front door: every way of deciding on routes, by name, behind one signature.

    decide(network, loads, state) -> Decision(prices, allocation, state)

A policy is a function of values: it holds nothing between calls but the `state` that it returned, which the caller
hands back at the next tick (`None` at the first, and again after a change of the policy). The mathematics of a policy
is loaded when it first decides: a controller that is started again has no time for that of the others.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pricing.errors import Infeasible, WardropError
from pricing.joint.certificate import certify
from pricing.joint.optimum import optimum
from pricing.network import Allocation, Network
from pricing.problem import Evaluation, evaluate, problem_of
from pricing.values import Certificate, Decision, FloatArray, Loads, Prices

if TYPE_CHECKING:
    from pricing.multicast.epochs import Epochs


def _afresh(_network: Network, _allocation: Allocation, _offered: FloatArray) -> None:
    """Policies that decide anew each time have nothing to go on from."""


V = 1.0
"""What a unit of cost weighs against a packet in a queue where nobody says another weight (ours)."""

Decide = Callable[[Network, Loads, Any], Decision]
Resume = Callable[[Network, Allocation, FloatArray], Any]


@dataclass(frozen=True)
class Policy:
    """A way of deciding: its name, what it does in one line, and the functions that do it.

    `resume(network, allocation, offered)` is the state with which it goes on from an allocation that another has made,
    such as what a failure left of its own. A policy that wants rates `raw` gets them as they were last measured, and
    smooths them itself; others get steady estimates. One that `sheds` decides itself what part of each session is let
    in; to the others only what fits is shown. One that is `asked` decides nothing by itself: its state is a mapping of
    session name to the split that was asked for. `weight` is V, what a unit of cost weighs in it against a packet that
    waits; None where nothing is weighed.
    """

    name: str
    summary: str
    decide: Decide
    resume: Resume = _afresh
    raw: bool = False
    sheds: bool = False
    asked: bool = False
    weight: float | None = None


def _imported(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is first called."""
    return lambda *arguments: getattr(import_module(module), name)(*arguments)


def _backpressure(name: str, summary: str) -> Policy:
    return Policy(name, summary, lambda *arguments: backpressure(name).decide(*arguments), weight=V)


def _publishing(regime: str, summary: str) -> Policy:
    decide = _imported("pricing.priority.publish", "decide_published")
    resume = _imported("pricing.priority.publish", "resume_published") if regime == "joint-priority" else _afresh
    return Policy(regime, summary, lambda *arguments: decide(regime, *arguments), resume, raw=True)


_SHORTEST = _imported("pricing.shortest", "decide_shortest")

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("shortest-path", "each session on its shortest route, to the nearest server", _SHORTEST),
        Policy(
            "ecmp",
            "each session equally over all of its shortest routes",
            _imported("pricing.shortest", "decide_equal"),
        ),
        Policy(
            "joint",
            "the least mean delay over all routes and servers, solved centrally every tick",
            _imported("pricing.joint.optimum", "decide_optimum"),
        ),
        Policy(
            "joint-distributed",
            "sessions follow the prices of links and servers, one safe round a tick",
            _imported("pricing.joint.iteration", "step"),
            _imported("pricing.joint.iteration", "resume"),
        ),
        Policy(
            "user-equilibrium",
            "each session for itself: no route in use is slower than another",
            _imported("pricing.joint.equilibrium", "decide_selfish"),
        ),
        Policy(
            "tolled",
            "each session for itself, under the tolls that make this the optimum",
            _imported("pricing.joint.equilibrium", "decide_tolled"),
        ),
        _publishing("priority", "users choose server and class at the classes' prices"),
        _publishing("joint-priority", "as priority, each class on the routes of least delay cost"),
        _publishing("one-price", "users choose servers, first come, first served, at a price"),
        _publishing("free-access", "users choose servers, first come, first served, for free"),
        Policy("edspa", "multicast: the union of the shortest paths to all destinations", _SHORTEST),
        Policy(
            "steiner",
            "multicast: one tree a session, the cheapest beside all others",
            _imported("pricing.multicast.priced", "decide_steiner"),
        ),
        Policy(
            "ucnc",
            "multicast: max-weight over whole trees, by virtual queues, an epoch a tick",
            _imported("pricing.multicast.epochs", "decide_universal"),
        ),
        _backpressure("dcnc", "backpressure on copies made at the source, an epoch a tick; dcnc(10) has V = 10"),
        _backpressure("gdcnc", "backpressure with all duplications, an epoch a tick"),
        _backpressure("gdcnc-r", "backpressure with a tree's duplications, an epoch a tick"),
        _backpressure("egdcnc", "backpressure with all duplications, biased by hops"),
        _backpressure("egdcnc-r", "backpressure with a tree's duplications, biased by hops"),
        Policy(
            "market",
            "least cost of work and fees, what is not worth its price is shed",
            _imported("pricing.market.dispatch", "decide_market"),
            sheds=True,
        ),
        Policy(
            "agents",
            "agents announce prices in packets, and each source asks its own ingress for its split",
            _imported("pricing.asked", "decide_asked"),
            _imported("pricing.asked", "resume_asked"),
            asked=True,
        ),
    )
}

BACKPRESSURE = ("dcnc", "gdcnc", "gdcnc-r", "egdcnc", "egdcnc-r")
"""Policies in which cost weighs against queues: those of `pricing.multicast.epochs.FAMILY`."""


def get_policy(name: str) -> Policy:
    """The policy of that name; those of the backpressure family also with what cost weighs, such as `gdcnc(10)`.

    Raises
    ------
    WardropError
        When there is none; the message lists all and suggests the nearest. When what cost weighs is no number.
    """
    if name in POLICIES:
        return POLICIES[name]
    if base_of(name) in BACKPRESSURE:
        return replace(POLICIES[base_of(name)], name=name, decide=backpressure(name).decide, weight=_weight(name))
    near = difflib.get_close_matches(name, POLICIES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise WardropError(f"unknown policy {name!r}, accepted are {', '.join(POLICIES)}{hint}")


def base_of(name: str) -> str:
    """The policy's name without what cost weighs.

    Examples
    --------
    >>> base_of("gdcnc(10)"), base_of("joint")
    ('gdcnc', 'joint')
    """
    base = name.partition("(")[0]
    return base if base in BACKPRESSURE else name


def backpressure(name: str) -> Epochs:
    """The policy of the backpressure family with that name, and what cost weighs in it.

    Raises
    ------
    WardropError
        When it is none of the family, or what cost weighs is no number.
    """
    from pricing.multicast.epochs import FAMILY

    base = base_of(name)
    if base not in FAMILY:
        raise WardropError(f"policy {name!r} is no backpressure; {', '.join(FAMILY)} are")
    return FAMILY[base](_weight(name))


def _weight(name: str) -> float:
    """What a unit of cost weighs, as people write it behind the name of a policy."""
    base = base_of(name)
    if name == base:
        return V
    text = name[len(base) :].strip("()")
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise WardropError(f"policy {name!r}: V {text!r}; a finite number from 0 is accepted, such as gdcnc(10)")
    return weight


def nominal_loads(network: Network, allocation: Allocation) -> Loads:
    """Loads that an allocation gives at the sessions' nominal rates, without background."""
    problem = problem_of(network)
    load = problem.loads(allocation)
    return Loads(load[: problem.link_count], load[problem.link_count :], problem.rates)


@dataclass(frozen=True)
class Solution:
    """Where a policy ends up without a network: against the model's loads of its own allocation.

    Parameters
    ----------
    rounds : int
        Rounds until the allocation stood still, or the limit.
    settled : bool
        Whether it stood still.
    certificate : Certificate
        With the optimum's prices as a witness, so that the gap is the true one.
    """

    policy: str
    allocation: Allocation
    prices: Prices
    evaluation: Evaluation
    certificate: Certificate
    rounds: int
    settled: bool


def solve(network: Network, policy: Policy, rounds: int = 200, tolerance: float = 1e-4) -> Solution:
    """Run a policy against the model until its allocation stands still.

    Parameters
    ----------
    rounds : int
        Most rounds.
    tolerance : float
        Change of every weight in one round, a ratio, below which the allocation stands still.

    Raises
    ------
    Infeasible
        When the sessions ask for more than links or servers can carry, from policies that see it.
    WardropError
        When the policy installs what agents ask for: there are none without a network.
    """
    if policy.asked:
        raise WardropError(
            f"policy {policy.name!r} carries out what agents on a network ask for, and has no answer without them; "
            "`run`, `validate` and `study agents` accept it, and `joint` is where it leads"
        )
    last, count, settled = settle(network, policy, rounds, tolerance)
    prices = problem_of(network).prices(problem_of(network).loads(last))
    certificate = certify(network, last, witness=_optimum(network))
    return Solution(policy.name, last, prices, evaluate(network, last), certificate, count, settled)


def settle(network: Network, policy: Policy, rounds: int, tolerance: float = 1e-4) -> tuple[Allocation, int, bool]:
    """The allocation when a policy stands still against the model's loads, after how many rounds, and whether it does.

    Raises
    ------
    Infeasible
        As `solve`.
    """
    idle = Loads(np.zeros(len(network.links)), np.zeros(len(network.servers)), problem_of(network).rates)
    decision = policy.decide(network, idle, None)
    last, count, settled = decision.allocation, 1, False
    while count < rounds and not settled:
        decision = policy.decide(network, nominal_loads(network, last), decision.state)
        count += 1
        settled = _largest_change(last, decision.allocation) <= tolerance
        last = decision.allocation
    return last, count, settled


def _optimum(network: Network) -> Allocation | None:
    """What the certificate takes the best bound from, where the demand can be carried."""
    try:
        return optimum(network).allocation
    except Infeasible:
        return None


def _largest_change(one: Allocation, other: Allocation) -> float:
    before, after = dict(one), dict(other)
    return max((abs(before.get(r, 0.0) - after.get(r, 0.0)) for r in before | after), default=0.0)
