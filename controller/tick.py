"""One tick as functions of values: measure, price, decide, compile, diff.

What the controller knows between ticks is one frozen `State`. A tick first learns from counters (`learn`), which never
fails, then plans (`plan`), which may: a policy that finds no answer, a rule that no table declares. The caller sends
the plan's delta and says how that went: `acknowledged` or `refused`. Until then the last acknowledged rules stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from controller import demand, health, laws, membership
from controller.compile import compile_rules
from controller.demand import Demand
from controller.exports import Export
from controller.fabric import Fabric
from controller.labels import REFUSED, Labels
from controller.laws import Laws
from controller.measure import EMPTY, Counts, Measured, Meter, Reader, dropped, going, read, remarked, signalling
from controller.retire import Use, observe
from controller.rules import Delta, RuleSet, diff, doubted
from controller.slots import deal, heavy, slot_rates
from pricing.admission import LIMIT, admitted
from pricing.asked import Split
from pricing.duplication import copies
from pricing.errors import WardropError
from pricing.joint.certificate import certify, certify_loads
from pricing.joint.optimum import optimum
from pricing.learnt import LawName
from pricing.network import Allocation, Network
from pricing.outage import NOTHING, Outage, Remains
from pricing.policy import Policy, nominal_loads
from pricing.priority.published import Published
from pricing.problem import evaluate, joined, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads

SMOOTHING = 0.2
"""Part of a new tick in the realised splits: a mean over some five ticks."""

VERDICT = ("gap", "kkt_residual", "objective", "optimum", "running_gap", "running_residual")

NO_VERDICT: dict[str, float | None] = dict.fromkeys(VERDICT)
"""What is said of an allocation that cannot be judged."""


@dataclass(frozen=True)
class State:
    """Everything that one tick leaves to the next.

    Parameters
    ----------
    demand : Demand
        Estimated bit/s of each session, at which allocations are decided and judged.
    carried : mapping of session name to {route number: packets/s}
        Smoothed, by the labels' counters.
    served : mapping of session name to ratio
        Part of the offered rate that is let in.
    silences : mapping of server name to Silence
        How long servers that are asked have said nothing.
    outage : Outage
        What does not work. The decision, and the prices in it, are of what remains.
    best : Allocation, optional
        The last optimum, from which the next is found quickly.
    unsplit : mapping of session name to slots
        Slots of sessions whose split cannot come out within a point of what was decided: too heavy, heaviest first.
    seen : Loads, optional
        Measured loads, smoothed over some five ticks; none before all links and servers were measured.
    laws : Laws
        The delay laws in force, and what they are learnt from.
    use : Use
        Which numbers are in use, which may be retired, which may be given again.
    """

    tick: int
    policy: Policy
    labels: Labels
    deals: Mapping[str, tuple[int, ...]]
    installed: RuleSet
    meter: Meter
    demand: Demand
    laws: Laws
    measured: Measured | None = None
    decision: Decision | None = None
    carried: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    served: Mapping[str, float] = field(default_factory=dict)
    silences: Mapping[str, health.Silence] = field(default_factory=dict)
    outage: Outage = NOTHING
    best: Allocation | None = None
    unsplit: Mapping[str, list[int]] = field(default_factory=dict)
    seen: Loads | None = None
    use: Use = field(default_factory=Use)

    @property
    def offered(self) -> FloatArray:
        """Estimated bit/s of each session, shape (K,)."""
        return self.demand.rate


@dataclass(frozen=True)
class Plan:
    """What a tick wants: the decision, what part of each session it serves, its rules, what is to be sent."""

    decision: Decision
    served: Mapping[str, float]
    labels: Labels
    deals: Mapping[str, tuple[int, ...]]
    unsplit: Mapping[str, list[int]]
    rules: RuleSet
    delta: Delta


@dataclass(frozen=True)
class Inputs:
    """All that a tick is told.

    Parameters
    ----------
    policy : Policy
        The one that is wanted.
    dead : set of Port
        Ports that are down.
    counts : mapping of Key to Count
        Counters of the switches that answered.
    now : float or None
        s, on the counters' clock; None where nothing was measured: at the start, and in a tick out of turn.
    arrived : tuple of str
        Switches that are to be asked for what they hold, because they connected since.
    adopted : pair of Labels and deals, optional
        What another controller left in force, at the start.
    laws : LawName
        Where delay laws are to come from.
    exports : tuple of Export
        What links and servers tell of themselves.
    asked : mapping of session name to split
        What agents asked their ingress for since the last tick.
    members : set of (session, node)
        Destinations of groups that come and go whose hosts are members.
    """

    policy: Policy
    dead: frozenset[health.Port] = frozenset()
    counts: Counts = field(default_factory=dict)
    now: float | None = None
    arrived: tuple[str, ...] = ()
    adopted: tuple[Labels, Mapping[str, tuple[int, ...]]] | None = None
    laws: LawName = "scenario"
    exports: tuple[Export, ...] = ()
    asked: Mapping[str, Split] = field(default_factory=dict)
    members: frozenset[tuple[str, str]] = frozenset()


def informed(fabric: Fabric, state: State, inputs: Inputs) -> State:
    """The state after what a tick is told, before it decides; never fails."""
    state = replace(state, laws=laws.chosen(fabric, state.laws, inputs.laws))
    if inputs.now is None:
        state = replace(state, tick=state.tick + 1)
    else:
        state = learn(fabric, state, inputs.counts, inputs.now, inputs.dead, inputs.exports)
    return heeding(state if inputs.policy is state.policy else with_policy(state, inputs.policy), inputs.asked)


def first_state(fabric: Fabric, policy: Policy, law: LawName = "scenario") -> State:
    """Before the first tick: nothing installed, nothing measured, sessions taken to offer their nominal rates."""
    network = fabric.network
    return State(0, policy, Labels(), {}, {}, EMPTY, demand.nominal(network), laws.first_laws(network, law))


def learn(
    fabric: Fabric,
    state: State,
    counts: Counts,
    now: float,
    dead: Set[health.Port] = frozenset(),
    exports: tuple[Export, ...] = (),
) -> State:
    """The state after new counters and exports, and with `dead` ports; what was never measured is as in the model."""
    counts = going(fabric, state.meter, counts)
    meter = read(state.meter, counts)
    measured = Reader(fabric, state.labels, meter, now).measured(lambda: _assumed(fabric.network, state.decision))
    last = state.demand.time if math.isfinite(state.demand.time) else -math.inf
    fresh = now - measured.session_ages > last
    carried = {
        name: {
            number: state.carried.get(name, {}).get(number, rate) * (1 - SMOOTHING) + SMOOTHING * rate
            for number, rate in rates.items()
        }
        for name, rates in measured.carried.items()
    }
    under, told = fabric.under(state.outage), {switch for _, switch, _ in counts}
    return replace(
        state,
        tick=state.tick + 1,
        meter=meter,
        measured=measured,
        demand=demand.learn(fabric.network, state.demand, measured.loads.offered, fresh, now),
        laws=laws.learn(fabric, state.laws, state.meter, meter, exports, now),
        carried=carried,
        seen=_smoothed(state.seen, measured),
        silences=health.silences(fabric, state.silences, meter, dead),
        use=observe(under, state.labels, state.deals, meter, told, state.use, now),
    )


def _assumed(network: Network, decision: Decision | None) -> Loads:
    """Loads of the model at the nominal rates, none while nothing is decided."""
    if decision is None:
        nothing = np.zeros(len(network.links)), np.zeros(len(network.servers))
        return Loads(*nothing, problem_of(network).rates)
    return nominal_loads(network, decision.allocation)


def _smoothed(seen: Loads | None, measured: Measured) -> Loads | None:
    """Loads as they were measured, a mean over some five ticks; unknown is never zero."""
    if not (np.isfinite(measured.link_ages).all() and np.isfinite(measured.server_ages).all()):
        return None
    now = measured.loads
    if seen is None:
        return now
    pairs = ((seen.links, now.links), (seen.servers, now.servers), (seen.offered, now.offered))
    return Loads(*(old + SMOOTHING * (new - old) for old, new in pairs))


def plan(fabric: Fabric, state: State) -> Plan:
    """Price, decide, compile, diff.

    Raises
    ------
    WardropError
        Whatever the policy or the compiler finds wrong.
    """
    network, left = fabric.network, fabric.left(state.outage)
    if state.measured is None:
        loads = Loads(np.zeros(len(network.links)), np.zeros(len(network.servers)), state.offered)
    else:
        raw = state.policy.raw and bool(np.isfinite(state.measured.session_ages).all())
        loads = state.measured.loads if raw else replace(state.measured.loads, offered=state.offered)
    fits, served = parts_served(left, state)
    loads = left.loads(loads)
    loads = replace(loads, offered=loads.offered * fits)
    memory = state.decision.state if state.decision else None
    decision = _decided(state.policy, laws.under(left, state.laws), loads, memory)
    parts = {session.name: float(part) for session, part in zip(left.network.sessions, served, strict=True)}
    if decision.served is not None:
        parts = {name: part * float(own) for (name, part), own in zip(parts.items(), decision.served, strict=True)}
    parts |= dict.fromkeys(left.idle, 0.0)
    allocation = left.completed(decision.allocation, state.decision.allocation if state.decision else None)
    paths = fabric.under(state.outage).paths(allocation)
    wear = state.use.idle - {state.labels.numbers.get(path, 0) for path in paths}
    labels = state.labels.without(wear).given(paths, state.use.free)
    deals, unsplit = {}, {}
    for session in network.sessions:
        part = parts.get(session.name, 1.0)
        split = allocation.splits[session.name]
        weights = {labels.numbers[fabric.there(route)]: part * weight for route, weight in split}
        weights = {number: weight for number, weight in {**weights, REFUSED: 1 - part}.items() if weight > 0}
        before, rates = state.deals.get(session.name, ()), slot_rates(fabric, session.name)
        deals[session.name] = deal(weights, fabric.slots, before, rates)
        if slots := heavy(weights, deals[session.name], rates):
            unsplit[session.name] = slots
    rules = compile_rules(fabric.under(state.outage), labels, deals, state.installed)
    delta = diff(rules, state.installed)
    return Plan(replace(decision, allocation=allocation), parts, labels, deals, unsplit, rules, delta)


def _decided(policy: Policy, network: Network, loads: Loads, memory: Any) -> Decision:
    """What a policy decides; where no session is left there is nothing to ask it."""
    if network.sessions:
        return policy.decide(network, loads, memory)
    return Decision(problem_of(network).prices(joined(loads)), Allocation({}), None)


def restore(fabric: Fabric, state: State, decision: Decision) -> Plan:
    """Put back what the decision in force wants, and decide nothing; an outage may ask for other ways back."""
    under = fabric.under(state.outage)
    there = {state.labels.path(number) for deal in state.deals.values() for number in deal if number != REFUSED}
    labels = state.labels.given(under.beside(there), state.use.free)
    rules = compile_rules(under, labels, state.deals, state.installed)
    return Plan(decision, state.served, labels, state.deals, state.unsplit, rules, diff(rules, state.installed))


def parts_served(left: Remains, state: State) -> tuple[FloatArray, FloatArray]:
    """What part of each remaining session's estimated rate fits, and what part is let in; each of shape (K,).

    Estimates are noisy: nothing is refused before the demand is surely too much. A policy that sheds does so itself.
    Where an allocation that is known carries all, the one in force or the last optimum, no linear program is asked.
    """
    offered, problem = state.offered[left.sessions], problem_of(left.network)
    everything = np.ones(len(offered))
    if state.policy.sheds:
        return everything, everything
    known = left.restricted(state.decision.allocation) if state.decision else shortest_path(left.network)
    for allocation in (known, state.best):
        if allocation and (problem.loads(allocation, offered) <= LIMIT * problem.capacity).all():
            return everything, everything
    fits = admitted(left.network, offered)
    if (fits == 1).all():
        return fits, everything
    sure = admitted(left.network, demand.surely(left.whole, state.demand)[left.sessions])
    return fits, everything if (sure == 1).all() else fits


def acknowledged(state: State, plan: Plan) -> State:
    """The state after every barrier of a plan was answered."""
    return replace(
        state,
        decision=plan.decision,
        served=plan.served,
        labels=plan.labels,
        deals=plan.deals,
        installed=plan.rules,
        unsplit=plan.unsplit,
    )


def refused(state: State, plan: Plan) -> State:
    """The state after a plan failed on its way: the last allocation stands, what was sent is in doubt.

    Numbers that the plan gave stay given, and those that it retired are not gone: no label ever changes its meaning.
    """
    labels = plan.labels.with_those_of(state.labels)
    return replace(state, labels=labels, installed=doubted(state.installed, plan.rules))


def with_outage(fabric: Fabric, state: State, outage: Outage) -> State:
    """The state when exactly this does not work: the policy goes on from what is left of its allocation."""
    if outage == state.outage:
        return state
    left = fabric.left(outage)
    decision = state.decision
    if decision is not None:
        allocation = left.surviving(decision.allocation)
        loads = left.loads(state.measured.loads) if state.measured else nominal_loads(left.network, allocation)
        offered = state.offered[left.sessions]
        priced = laws.under(left, state.laws)
        prices = problem_of(priced).prices(joined(loads))
        memory = state.policy.resume(priced, allocation, offered) if len(offered) else None
        decision = Decision(prices, left.completed(allocation, decision.allocation), memory)
    return replace(state, outage=outage, decision=decision, best=None)


def with_policy(state: State, policy: Policy) -> State:
    """The state under another policy, which begins afresh: it finds the loads, and no memory."""
    decision = replace(state.decision, state=None) if state.decision else None
    return replace(state, policy=policy, decision=decision)


def heeding(state: State, asked: Mapping[str, Split]) -> State:
    """The state after what agents asked for, which counts under a policy that carries it out."""
    if not asked or not state.policy.asked or not (decision := state.decision):
        return state
    return replace(state, decision=replace(decision, state={**(decision.state or {}), **asked}))


def judge(fabric: Fabric, state: State) -> tuple[State, dict[str, float | None]]:
    """How good the allocation in force is at the smoothed offered rates, by the model; None for what cannot be said.

    A market makes costs least, not delays: of its allocation the delay is told, and no distance to the least delay.
    """
    verdict = NO_VERDICT
    if state.decision is None or not fabric.left(state.outage).network.sessions:
        return state, verdict
    witness, left = None, fabric.left(state.outage)
    served = [state.served.get(session.name, 1.0) for session in left.network.sessions]
    offered = state.offered[left.sessions] * np.array(served)
    priced = laws.under(left, state.laws)
    if state.decision.quotes is not None:
        delay = evaluate(priced, left.restricted(state.decision.allocation), offered).objective
        return state, verdict | {"objective": finite(delay)}
    try:
        best = optimum(priced, offered, state.best)
    except WardropError:  # demand beyond capacity has no optimum
        pass
    else:
        witness = best.allocation
        verdict = verdict | {"optimum": finite(best.certificate.primal)}
    certificate = certify(priced, left.restricted(state.decision.allocation), offered, witness)
    flows = state.measured.loads.offered.sum() if state.measured else 0.0
    if state.seen is not None and flows > SMOOTHING * state.seen.offered.sum():  # else loads tell of what was
        bound = verdict["optimum"] if verdict["optimum"] is not None else -math.inf
        seen = left.loads(state.seen)
        running = certify_loads(priced, replace(seen, offered=seen.offered * served), bound)
        verdict |= {"running_gap": finite(running.gap), "running_residual": finite(running.wardrop_residual)}
    return replace(state, best=witness), verdict | {
        "gap": finite(certificate.gap),
        "kkt_residual": finite(certificate.kkt_residual),
        "objective": finite(certificate.primal),
    }


def finite(value: float) -> float | None:
    """The number, or None where it is infinite or unknown: JSON has no such numbers."""
    return float(value) if math.isfinite(value) else None


def describe(fabric: Fabric, state: State) -> dict[str, Any]:
    """The part of a record line that a state holds; see docs/design/architecture.md."""
    network, decision, measured = fabric.network, state.decision, state.measured
    if decision is None:
        return {"tick": state.tick, "policy": state.policy.name}
    left = fabric.left(state.outage)
    model = evaluate(laws.under(left, state.laws), left.restricted(decision.allocation), state.offered[left.sessions])
    link_delays, server_delays = left.widened(model.link_delays, model.server_delays)
    link_prices, server_prices = left.widened(decision.prices.links, decision.prices.servers)
    loads = measured.loads if measured else evaluate(network, decision.allocation, state.offered).loads
    link_ages = measured.link_ages if measured else np.full(len(network.links), np.inf)
    server_ages = measured.server_ages if measured else np.full(len(network.servers), np.inf)
    names = [session.name for session in network.sessions]

    def rows(
        load: FloatArray, capacity: list[float], price: FloatArray, delay: FloatArray, ages: FloatArray
    ) -> list[Any]:
        return [
            {"load": x, "utilization": x / c, "price": finite(p), "delay": finite(d), "age": finite(a)}
            | {"up": float(math.isfinite(p))}  # only what failed has an infinite price
            for x, c, p, d, a in zip(load.tolist(), capacity, price, delay, ages, strict=True)
        ]

    return {
        "tick": state.tick,
        "policy": state.policy.name,
        "laws": state.laws.name,
        "offered": dict(zip(names, loads.offered.tolist(), strict=True)),
        "delivered": {n: finite(x) for n, x in zip(names, measured.delivered, strict=True)} if measured else {},
        "links": rows(loads.links, [link.capacity for link in network.links], link_prices, link_delays, link_ages),
        "servers": rows(
            loads.servers,
            [server.capacity for server in network.servers],
            server_prices,
            server_delays,
            server_ages,
        ),
        "session_ages": {n: finite(a) for n, a in zip(names, measured.session_ages, strict=True)} if measured else {},
        "decided": {
            name: [[str(route), weight] for route, weight in split]
            for name, split in decision.allocation.splits.items()
        },
        "realised": realised(fabric, state),
        "lost_in_extraction": dict(decision.lost),
        "copies": copies(network, decision.allocation),
        "outage": {"links": sorted(state.outage.links), "servers": sorted(state.outage.servers)},
        "stranded": list(left.stranded),
        "members": membership.listed(fabric, state.outage.absent),
        "heavy": {name: len(state.unsplit.get(name, ())) for name in names},
        "dropped": dropped(fabric, state.meter),
        "remarked": remarked(fabric, state.meter),
        **published_values(decision.state if isinstance(decision.state, Published) else None),
        **signalling(fabric, state.meter),
        "served": {name: state.served.get(name, 0.0) for name in names},
        **({"market": decision.quotes.by_place(network)} if decision.quotes else {}),
    }


def published_values(found: Published | None) -> dict[str, Any]:
    """What is published, by machine and class and by session that is not cut off; empty where nothing is."""
    if found is None:
        return {}
    rental = found.rental
    return {
        "classes": {
            "machines": list(found.machines),
            "load": found.load.tolist(),
            "wait": found.waits.tolist(),
            "premium": (rental.linear - rental.linear[:, -1:]).tolist(),
            "base": rental.linear[:, -1].tolist(),
            "base_square": rental.quadratic.tolist(),
        },
        "session_prices": dict(zip(found.sessions, map(finite, found.prices), strict=True)),
        "session_times": dict(zip(found.sessions, found.times.tolist(), strict=True)),
    }


def realised(fabric: Fabric, state: State) -> dict[str, list[list[Any]]]:
    """Shares of each session's packets by route, by the labels' counters; empty where nothing was counted."""
    found = {}
    for name, rates in state.carried.items():
        total = sum(rates.values())
        used = sorted((n, rate) for n, rate in rates.items() if rate > 0 and n not in state.labels.retired)
        found[name] = [[fabric.route_name(state.labels.path(number)), rate / total] for number, rate in used]
    return found


def installed_values(fabric: Fabric, state: State) -> dict[str, Any]:
    """What the rules in force mean: every numbered path, and the number that each slot has."""
    routes = {
        number: {
            "session": path.session,
            "route": fabric.route_name(path),
            "nodes": list(path.nodes),
            "host": path.host,
            "back": path.back,
        }
        for path, number in sorted(state.labels.numbers.items(), key=lambda pair: pair[1])
    }
    return {"routes": routes, "slots": {name: list(numbers) for name, numbers in state.deals.items()}}
