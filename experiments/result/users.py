"""What a run with users has to show: waits of each class, welfare, and prices that come to rest.

The **welfare** of a phase is what was sent is worth to its users, V at the rates that they really sent, less delay cost
times the delays that were logged, from sending to the answer's return; it is held against the best equilibrium that
is found of the same economy (`pricing.priority.solve`), which knows no switch, no late wake-up and no noise.

The wait of a class at a server runs from a request's arrival until its answer left, less its work: what really
happened, lateness included. `pricing.simulate.priority.priority_waits` says what the same arrivals should have waited,
and Cobham's formula what Poisson arrivals of the measured rates and moments wait on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.result.assemble import Account
from experiments.result.estimate import Estimate, Verdict, at_most, mean, paired, rate, ratio, together, verdict
from experiments.result.measure import Mask
from experiments.result.verdicts import entry
from pricing.priority.economy import Economy
from pricing.priority.elastic import Group, economy_of
from pricing.priority.loop import USED, worthy
from pricing.priority.publish import REGIMES, WITH_CLASSES
from pricing.priority.routed import NEAREST
from pricing.priority.solve import optimum
from pricing.priority.values import value_of
from pricing.priority.waits import Queues
from pricing.simulate.priority import priority_waits
from topologies.hosts.logs import SECOND, Log

WAIT_TOLERANCE, WAIT_TOLERANCE_S = 0.12, 0.3e-3
"""Measured mean wait of a class against the recursion on the same packets: within the wider of the two."""

WELFARE_LIMIT = 0.95
"""Of the best equilibrium's welfare, that prices of classes have to reach."""

FOLLOWED = 0.1
"""How near to the equilibrium's own move that of a user has to come whose value changes, ratio (ours)."""

SETTLED_TICKS, SETTLED_MOVE = 60, 0.02
"""Ticks after which prices have come to rest: the largest move of one in a tick is smaller, on average."""

STARTS = 12
"""Starts of the search for equilibria."""


def user_verdicts(account: Account, groups: Sequence[Group], first: Account | None = None) -> list[dict[str, Any]]:
    """The verdicts of one phase in which users chose; `first` is the phase that its welfare is held against."""
    worth = account.log.setting.worth
    before, groups = groups, worthy(groups, *worth) if worth else tuple(groups)
    found = [*_welfare(account, groups, first), *_waits_at_servers(account), *_waits_of_classes(account)]
    if account.log.policy != REGIMES[-1]:
        found.append(_rest(account))
    if worth and first is not None:
        found.append(_following(account, first, before, groups, worth))
    return found


def welfare(account: Account, groups: Sequence[Group]) -> Estimate:
    """Value of what was sent less what its delays cost, currency/s; n: requests."""
    total, variance, count = 0.0, 0.0, 0
    for group in groups:
        number, delay = _had(account, group)
        sent = number / account.window.duration
        value, cost = value_of(group.user.value), group.user.delay_cost
        lost = cost * sent * delay.value if number else 0.0
        total += value.value(sent) - lost
        noise = (value.marginal(sent) - cost * delay.value) * 1.96 * np.sqrt(number) / account.window.duration
        variance += noise**2 + (cost * sent * delay.ci95) ** 2 if number else 0.0
        count += number
    return Estimate(total, float(np.sqrt(variance)), count)


def _had(account: Account, group: Group) -> tuple[int, Estimate]:
    """How many requests a user sent, and their delay, s."""
    requests, mine = account.requests, _of(account, group)
    back = (requests.answered - requests.sent)[account.window.quiet(requests.sent) & mine & (requests.answered > 0)]
    return int((account.window.holds(requests.sent) & mine).sum()), mean(back / SECOND)


def _of(account: Account, group: Group) -> Mask:
    """Which requests are a user's."""
    return np.isin(account.requests.session, [account.network.session_index[name] for name in group.options])


def told(account: Account, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """`users` of a run: what each sent, in which of its options, and what it was worth after its delays' cost."""
    requests, found = account.requests, []
    inside = account.window.holds(requests.sent)
    records, duration = account.records, account.window.duration
    for group in groups:
        options = {name: account.network.session_index[name] for name in group.options}
        number, delay = _had(account, group)
        rate = number / duration
        worth = float(value_of(group.user.value).value(rate))
        lost = group.user.delay_cost * rate * delay.value if rate else 0.0
        found.append(
            {
                "name": group.name,
                "requests_per_s": rate,
                "delay_s": delay.as_json(),
                "value_per_s": worth if np.isfinite(worth) else None,
                "welfare_per_s": worth - lost if np.isfinite(worth - lost) else None,
                "options": [
                    {
                        "session": name,
                        "requests_per_s": int((inside & (requests.session == index)).sum()) / duration,
                        "price": _average(records, "session_prices", name),
                        "time_s": _average(records, "session_times", name),
                    }
                    for name, index in options.items()
                ],
            }
        )
    return found


def _average(records: Sequence[dict[str, Any]], field: str, session: str) -> float | None:
    """Mean over ticks of what was published for a session; None where it was never on offer."""
    seen = [record[field][session] for record in records if record.get(field, {}).get(session) is not None]
    return float(np.mean(seen)) if seen else None


def _welfare(account: Account, groups: Sequence[Group], first: Account | None) -> list[dict[str, Any]]:
    got = welfare(account, groups)
    best = optimum(_economy(account, groups), starts=STARTS)
    part = Estimate(got.value / best.best.welfare, got.ci95 / abs(best.best.welfare), got.n)
    several = f"; {len(best.all)} equilibria that are maxima were found" if len(best.all) > 1 else ""
    note = f"{got.value:.5g} currency/s, the best equilibrium {best.best.welfare:.5g}{several}"
    name = "welfare over that of the best equilibrium"
    if account.log.policy in WITH_CLASSES:
        said: Verdict = "met" if part.low >= WELFARE_LIMIT else "not met" if part.high < WELFARE_LIMIT else "undecided"
        return [entry(name, part, WELFARE_LIMIT, None, said, note, "ratio")]
    if first is None or first.log.policy not in WITH_CLASSES:
        return [entry(name, part, 1.0, None, at_most(part, 1.0), note, "ratio")]
    over = ratio(got, welfare(first, groups))
    name = f"welfare of {account.log.policy} over {first.log.policy}"
    return [entry(name, over, 1.0, None, at_most(over, 1.0), note, "ratio")]


def _following(
    account: Account, first: Account, before: Sequence[Group], after: Sequence[Group], worth: tuple[str, float]
) -> dict[str, Any]:
    """How far the rate of a user moved whose value has changed, over how far the equilibrium's did."""
    name, factor = worth
    place = [group.name for group in after].index(name)
    old, new = (
        float(optimum(_economy(account, groups), starts=STARTS).best.totals[place]) for groups in (before, after)
    )
    was, now = _sent(first, after[place]), _sent(account, after[place])
    moved = Estimate((now.value - was.value) / (new - old), np.hypot(now.ci95, was.ci95) / abs(new - old), now.n)
    steps = [step for step in account.log.chosen[name][1]["followed"] if step["value"] == factor]
    gone = [abs(sum(step["rates"]) - was.value) >= (1 - FOLLOWED) * abs(new - old) for step in steps]
    ticks = f"{1 - FOLLOWED:.0%} of it after {gone.index(True)} announcements" if any(gone) else "not there yet"
    note = f"{name}: {was.value:.4g} to {now.value:.4g} requests/s, the equilibrium {old:.4g} to {new:.4g}; {ticks}"
    title = "move of a user whose value changes over that of the equilibrium"
    return entry(title, moved, 1.0, FOLLOWED, verdict(moved, 1.0, absolute=FOLLOWED), note, "ratio")


def _economy(account: Account, groups: Sequence[Group]) -> Economy:
    """The economy on the routes that the policy may take."""
    return economy_of(account.network, groups, NEAREST if account.log.policy == "joint-priority" else 1)


def _sent(account: Account, group: Group) -> Estimate:
    """Requests/s that a user sent."""
    mine = _of(account, group) & account.window.holds(account.requests.sent)
    return rate(np.ones(int(mine.sum())), account.window.duration)


def _waits_at_servers(account: Account) -> list[dict[str, Any]]:
    """Of all servers and classes the one farthest from the recursion, and the one farthest from Cobham's formula."""
    same: list[tuple[float, dict[str, Any]]] = []
    formula: list[tuple[float, str, Estimate, float]] = []
    for server in account.network.servers:
        log = account.log.served[server.name][0]
        log = log[(log["start"] > 0) & (log["left"] > 0)]
        inside, quiet = account.window.holds(log["received"]), account.window.quiet(log["received"])
        waits = (log["left"] - log["received"]) / SECOND - log["work"]
        since = (log["received"] - log["received"].min(initial=2**62)) / SECOND
        recursion = priority_waits(since, log["work"], log["klass"])
        expected = _cobham(log[inside], account.window.duration)
        for k in np.unique(log["klass"][quiet]).tolist():
            mine = quiet & (log["klass"] == k)
            where = f"{server.name}, class {k}, the farthest off"
            off, says = paired(waits[mine], recursion[mine]), float(recursion[mine].mean())
            got, tolerance = Estimate(says + off.value, off.ci95, off.n), max(WAIT_TOLERANCE * says, WAIT_TOLERANCE_S)
            said = verdict(got, says, WAIT_TOLERANCE, WAIT_TOLERANCE_S)
            name = "wait of a class at a server against the recursion"
            row = entry(name, got, says, tolerance, said, f"{where}; interval of the difference", "s")
            same.append((abs(off.value) / tolerance, row))
            measured, expects = mean(waits[mine]), float(expected[k - 1])
            formula.append((abs(measured.value - expects) / measured.ci95, where, measured, expects))
    return [max(same, key=lambda pair: pair[0])[1], _by_formula(formula)] if same else []


def _by_formula(found: Sequence[tuple[float, str, Estimate, float]]) -> dict[str, Any]:
    """The queue (interval widths off, where, measured, the formula's wait) farthest from Cobham's formula."""
    _, where, measured, expects = max(found, key=lambda row: row[0])
    got = together(measured, len(found))
    said: Verdict = "met" if abs(got.value - expects) <= got.ci95 else "not met"
    said = said if np.isfinite(got.ci95) else "undecided"
    note = f"{where} of {len(found)} queues, whose intervals hold together; at measured rates and moments"
    return entry("wait of a class at a server against Cobham's formula", got, expects, got.ci95, said, note, "s")


def _cobham(log: Log, duration: float) -> Any:
    """Waits by class, s, at the rates and moments of the requests of a time."""
    classes = int(log["klass"].max(initial=1))
    load = np.bincount(log["klass"] - 1, log["work"], classes) / duration
    residual = np.array([float((log["work"] ** 2).sum()) / (2 * duration)])
    return Queues(residual, load[None, :], np.ones(1, dtype=np.intp)).waits[0]


def _waits_of_classes(account: Account) -> list[dict[str, Any]]:
    """The wait of each class on all its way, links and server, against the simulation of the same packets."""
    requests, found = account.requests, []
    classes = np.array([session.klass for session in account.network.sessions])[requests.session]
    quiet = account.window.quiet(requests.sent)
    for k in np.unique(classes[quiet]).tolist():
        mine = quiet & (classes == k)
        predicted = account.prediction.delays[mine] - requests.work[mine]
        off = paired(requests.delay[mine] - requests.work[mine], predicted)
        says = float(np.nanmean(predicted))
        got, tolerance = Estimate(says + off.value, off.ci95, off.n), max(WAIT_TOLERANCE * says, WAIT_TOLERANCE_S)
        said = verdict(got, says, WAIT_TOLERANCE, WAIT_TOLERANCE_S)
        name = f"wait of class {k} on its way against the packet simulation"
        note = "links and server, packets with priority; interval of the difference, packet by packet"
        found.append(entry(name, got, says, tolerance, said, note, "s"))
    return found


def _rest(account: Account) -> dict[str, Any]:
    """Whether prices had come to rest: the largest relative move of a price in use, tick by tick."""
    records = [record for record in account.log.records if record["time"] >= account.log.changed]
    moves = price_moves(records)[SETTLED_TICKS:]
    value = mean(moves)
    worst = f"95 of 100 below {np.quantile(moves, 0.95):.2%}" if len(moves) else "none"
    since = f"ticks after the first {SETTLED_TICKS} of the phase, or since a change"
    note = f"{since}, the largest of all prices in use in each; {worst}"
    return entry("move of a price in a tick", value, SETTLED_MOVE, None, at_most(value, SETTLED_MOVE), note, "ratio")


def price_moves(records: Sequence[dict[str, Any]]) -> Any:
    """The largest relative move of a price in use from each tick to the next, shape (ticks - 1,)."""
    found = []
    for before, after in pairwise(records):
        told, last = after.get("session_prices", {}), before.get("session_prices", {})
        total = sum(after["offered"].values())
        used = [name for name, price in told.items() if price and last.get(name)]
        moves = [abs(told[name] / last[name] - 1) for name in used if after["offered"][name] > USED * total]
        if moves:
            found.append(max(moves))
    return np.array(found)
