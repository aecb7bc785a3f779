"""Adoption: a controller that starts where another one died goes on with the rules that the switches still have.

The numbers' meaning comes from the ledger; which slot has which number is read from the switches, because they are what
packets meet. The allocation in force follows from both: a route's weight is what its slots carry. Nothing of this sends
a message: the state has every rule as it was found, and the next difference puts right what is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller import tick
from controller.compile import Deals, slot_rule
from controller.fabric import Fabric
from controller.holdings import Held, Written, installed
from controller.labels import REFUSED, Labels
from controller.pipeline import SLOTS
from controller.rules import Rule
from controller.slots import slot_rates
from controller.tick import State
from pricing.network import Allocation, Route, Session
from pricing.outage import Outage
from pricing.policy import Policy, nominal_loads
from pricing.problem import joined, make_allocation, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision


def adopted(
    fabric: Fabric, policy: Policy, labels: Labels, held: Mapping[str, Held], outage: Outage, written: Written
) -> State:
    """The state that goes on from what the switches hold.

    Parameters
    ----------
    labels : Labels
        The ledger's.
    held : mapping of switch name to Held
    outage : Outage
        What does not work now.
    written : callable
        What an entry does, in bytes.

    Returns
    -------
    State
        With the allocation in force as its decision; without one where slots of a session are missing, because the
        first rules were never all there: then the first tick decides anew.
    """
    deals = {session.name: deal_held(fabric, session, labels, held, written) for session in fabric.network.sessions}
    whole = {
        name: deal for name, deal in deals.items() if set(deal) - {REFUSED} or (deal and fabric.sessions[name].joined)
    }
    if len(whole) < len(deals):
        nothing = installed({}, {}, held, written)
        return replace(tick.first_state(fabric, policy), labels=labels, deals=whole, installed=nothing)
    return found(fabric, resumed(fabric, policy, labels, whole, outage), held, written)


def resumed(
    fabric: Fabric, policy: Policy, labels: Labels, deals: Mapping[str, tuple[int, ...]], outage: Outage
) -> State:
    """The state that goes on from these deals, while nothing is known of rules."""
    allocation, served = in_force(fabric, labels, deals)
    first = tick.first_state(fabric, policy)
    prices = problem_of(fabric.network).prices(joined(nominal_loads(fabric.network, allocation)))
    decision = Decision(prices, allocation, policy.resume(fabric.network, allocation, first.offered))
    state = replace(first, labels=labels, deals=deals, decision=decision, served=served)
    return tick.with_outage(fabric, state, outage)


def found(fabric: Fabric, state: State, held: Mapping[str, Held], written: Written) -> State:
    """The state after some switches have told what they hold."""
    wanted = tick.restore(fabric, state, state.decision).rules if state.decision else {}
    return replace(state, installed=installed(wanted, state.installed, held, written))


def deal_held(
    fabric: Fabric, session: Session, labels: Labels, held: Mapping[str, Held], written: Written
) -> tuple[int, ...]:
    """The number of each slot by the rules at a session's ingress; empty where one is missing or has no meaning."""
    node, meaning = session.source, fabric.session_numbers[session.name]
    own = [number for path, number in labels.numbers.items() if path.session == session.name and not path.back]
    told = {number: written(slot_rule(node, meaning, 0, number)[1]) for number in [*own, REFUSED]}
    cut = len(told[REFUSED])  # a rule that does nothing is its match alone
    numbers = {said[cut:]: number for number, said in told.items()}
    deal: list[int | None] = [None] * fabric.slots
    for entry, said in held.get(node, {}).values():
        if isinstance(entry, Rule) and (entry.table, entry.match[:-1]) == (SLOTS, (("metadata", meaning), ("reg1", 0))):
            field, slot = entry.match[-1]
            if field == "reg2" and isinstance(slot, int) and slot < fabric.slots and said[:3] == told[REFUSED][:3]:
                deal[slot] = numbers.get(said[cut:])
    return tuple(number for number in deal if number is not None) if None not in deal else ()


def in_force(fabric: Fabric, labels: Labels, deals: Deals) -> tuple[Allocation, dict[str, float]]:
    """The allocation that deals carry out, and the part of each session that they let in."""
    routes: list[Route] = []
    weights: list[float] = []
    served: dict[str, float] = {}
    for session in fabric.network.sessions:
        shares: dict[int, float] = {}
        for number, rate in zip(deals[session.name], slot_rates(fabric, session.name).tolist(), strict=True):
            shares[number] = shares.get(number, 0.0) + rate
        refused, total = shares.pop(REFUSED, 0.0), sum(shares.values())
        served[session.name] = total / (total + refused) if total else 0.0
        if not shares:  # a group that had no member
            routes += [route for route, _ in shortest_path(fabric.network).splits[session.name]]
            weights.append(1.0)
        for number, share in sorted(shares.items()):
            routes.append(fabric.route(labels.path(number)))
            weights.append(share / total if total else 1.0)
    return make_allocation(routes, weights), served
