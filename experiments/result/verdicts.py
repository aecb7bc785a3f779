"""What a run has to show, and whether it did: each with its interval, what it rests on, and a sentence.

A figure whose interval is wider than its tolerance is undecided, not met.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.result.assemble import Account, binomial_error
from experiments.result.estimate import (
    Estimate,
    Verdict,
    at_most,
    counted,
    mean,
    paired,
    ratio,
    ratio_of_pairs,
    verdict,
)
from pricing.joint.messages import Message
from pricing.market.dispatch import SHARE
from pricing.multicast.epochs import FAMILY
from pricing.network import ArrivalLaw
from pricing.policy import base_of

DELAY_TOLERANCE = 0.15
DELAY_TOLERANCE_S = 0.3e-3
"""Measured mean delay against the packet simulation's: within the wider of the two."""

LOAD_TOLERANCE = 0.05
USED = 0.10
"""Loads of links above this utilization are held against the packet simulation's."""

SPLIT_TOLERANCE = 0.01
"""Realised against decided share of a route, or two binomial standard errors of the number of flows."""

GAP_LIMIT, GAP_WORST = 0.02, 0.05
GAP_TICKS = 30
"""How far above the model's optimum live allocations may be: mean over this many ticks, and each of them."""

RATIO_LIMIT = 0.6
"""Priced mean delay over the shortest path's; beside any other, what comes later must not be slower."""

UNDONE = 1.1
"""Mean delay, over that of the selfish without the harmful link, at which the harm counts as undone (ours)."""

TICK_LIMIT_S = 0.2

SIGNALLING_TOLERANCE = 0.1
"""Bytes that servers' price agents say against what their number makes (ours)."""

PACED = ArrivalLaw("deterministic")
"""Requests at equal distances, whose flows take turns: what a link carries is bound to be made up for."""

SPELLS = 4
"""So many times of refusal are told, the largest (ours); `runs[].refused` has all."""

FULL, FILLED, LOST = 1e-3, 0.95, 1e-3
"""A link is cleared full within this part of its share; how much of its share it must carry, and how little lose."""


def verdicts(
    account: Account, baseline: Account | None = None, priced: bool = True, less: Account | None = None
) -> list[dict[str, Any]]:
    """The verdicts of one phase.

    Parameters
    ----------
    account : Account
    baseline : Account, optional
        The phase that it is compared with, on the same packets.
    priced : bool
        Whether its policy iterates towards the optimum.
    less : Account, optional
        The first policy's phase without a link: where that link does harm, this is to show that its policy undoes it.
    """
    if account.is_market:
        whole = [*_whole(account), *_shed(account)]
        return [_loads(account), _splits(account), *whole, *_cleared(account), _tick(account)]
    found = []
    if baseline is not None:
        found.append(_compared(account, baseline))
    if less is not None:
        found.append(_undone(account, less))
    found += [_delay(account), _loads(account), _splits(account)]
    found += [_growth(account), *_whole(account)]
    if priced:
        found += _gaps(account)
    if account.log.policy == "agents":
        found.append(_signalling(account))
    found.append(_tick(account))
    return [_beside(entry) for entry in found] if account.log.background else found


def _beside(entry: dict[str, Any]) -> dict[str, Any]:
    """A verdict of a phase with background traffic, of which the packet simulation does not know."""
    if not entry["name"].endswith("the packet simulation"):
        return entry
    note = "; ".join(filter(None, ["background traffic, which is not simulated, was on the links", entry["note"]]))
    return entry | {"verdict": "undecided", "note": note}


def entry(
    name: str,
    measured: Estimate,
    expected: float,
    tolerance: float | None,
    said: Verdict,
    note: str,
    unit: str,
) -> dict[str, Any]:
    """One verdict, as the result file has it."""
    return {
        "name": name,
        **{"measured" if key == "value" else key: value for key, value in measured.as_json().items()},
        "expected": expected,
        "tolerance": tolerance,
        "verdict": said,
        "note": note,
        "unit": unit,
    }


def count(name: str, value: int, note: str) -> dict[str, Any]:
    """Something that must not happen at all."""
    return entry(name, Estimate(value, 0.0, 1), 0, 0, "met" if value == 0 else "not met", note, "packets")


def _compared(account: Account, baseline: Account) -> dict[str, Any]:
    """The later phase over the first. Queues promise rates and no delays: prices by the model are held over them."""
    by_queues = base_of(account.log.policy) in FAMILY and baseline.log.policy in ("joint", "joint-distributed")
    return _against_baseline(baseline, account) if by_queues else _against_baseline(account, baseline)


def _against_baseline(account: Account, baseline: Account) -> dict[str, Any]:
    limit = RATIO_LIMIT if baseline.log.policy == "shortest-path" else 1.0
    note = f"the same packets in both phases, {account.log.measure:.0f} s each after settling"
    return _over(account, baseline, limit, note)


def _undone(account: Account, less: Account) -> dict[str, Any]:
    """The delay with all links under a policy, over the first policy's without one."""
    note = "the same packets in both phases; where that link does harm, this says whether it is undone"
    return _over(account, less, UNDONE, note)


def _over(account: Account, baseline: Account, limit: float, note: str) -> dict[str, Any]:
    """The delay of one phase over that of another; undecided where one carried only a part, and was quick for it."""
    value = _ratio(account, baseline)
    part = account.turned_away or baseline.turned_away
    said: Verdict = "undecided" if part else at_most(value, limit)
    name = f"mean delay of {account.log.setting} over {baseline.log.setting}"
    return entry(name, value, limit, None, said, note + ("; a part was refused" if part else ""), "ratio")


def _ratio(account: Account, baseline: Account) -> Estimate:
    """Packet by packet, where both phases sent as many in the time measured."""
    windows = [(each, each.window.holds(each.requests.sent)) for each in (account, baseline)]
    (one, mine), (other, theirs) = windows
    if mine.sum() != theirs.sum() or (one.requests.session[mine] != other.requests.session[theirs]).any():
        return ratio(account.measured.delay.mean, baseline.measured.delay.mean)
    upper, lower = (
        np.where(each.window.quiet(each.requests.sent), each.requests.delay, np.nan)[inside] for each, inside in windows
    )
    return ratio_of_pairs(upper, lower)


def _delay(account: Account) -> dict[str, Any]:
    """Mean delay against the packet simulation, packet by packet: the interval is that of the paired differences."""
    quiet = account.window.quiet(account.requests.sent)
    predicted = account.prediction.delays[quiet]
    difference = paired(account.requests.delay[quiet], predicted)
    expected = float(np.nanmean(predicted)) if np.isfinite(predicted).any() else 0.0
    measured = Estimate(expected + difference.value, difference.ci95, difference.n)
    said = verdict(measured, expected, DELAY_TOLERANCE, DELAY_TOLERANCE_S)
    model = account.model.mean_delay
    note = (
        f"interval of the difference, packet by packet; independent queues say {1e3 * model:.2f} ms: they draw a new "
        "size at every link, while real packets keep theirs"
    )
    tolerance = max(DELAY_TOLERANCE * expected, DELAY_TOLERANCE_S)
    return entry("mean delay against the packet simulation", measured, expected, tolerance, said, note, "s")


def _loads(account: Account) -> dict[str, Any]:
    """The link whose load is farthest from the packet simulation's, to which what agents say is added.

    Both counted the same packets on the same links, some of them at other times, which is made up for.
    """
    what, order = "load of a link against the packet simulation", {"met": 0, "undecided": 1, "not met": 2}
    found: list[tuple[int, float, str, Estimate, Verdict]] = []
    for index, link in enumerate(account.network.links):
        load, predicted = account.loads[:, index], account.predicted_loads[:, index]
        expected = float(predicted.mean())
        if max(load.mean(), expected) < USED * link.capacity or not expected:
            continue
        difference = counted(account.edges, load - predicted)
        off = Estimate(difference.value / expected, difference.ci95 / expected, difference.n)
        said = verdict(off, 0.0, absolute=LOAD_TOLERANCE)
        found.append((order[said], abs(off.value), str(link), off, said))
    if not found:
        nothing, note = Estimate(0.0, 0.0, 0), f"no link above {USED:.0%} utilization"
        return entry(what, nothing, 0.0, LOAD_TOLERANCE, "undecided", note, "ratio")
    _, _, name, off, said = max(found, key=lambda row: row[:3])
    note = (
        f"{name}, the farthest off of {len(found)} links above {USED:.0%} utilization; n: pieces of the time measured"
    )
    if account.signalling.any():
        note += f"; agents' messages, {account.signalling.max() / 1e3:.1f} kbit/s on a link at most, are added"
    return entry(what, off, 0.0, LOAD_TOLERANCE, said, note, "ratio")


def _splits(account: Account) -> dict[str, Any]:
    """The route whose realised share is farthest from the decided one, in terms of what is accepted.

    Who sent less than a request a flow in the time measured did not show its flows, and is not judged.
    """
    found = []
    for session, figures in zip(account.network.sessions, account.measured.sessions, strict=True):
        if figures.sent < session.flows:
            continue
        decided, realised = account.decided.get(session.name, {}), account.realised.get(session.name, {})
        for route in sorted(decided.keys() | realised.keys()):
            want, share = decided.get(route, 0.0), realised.get(route, 0.0)
            error = binomial_error(want, session.flows)
            accepted = max(SPLIT_TOLERANCE, 2 * error)
            got = Estimate(share, 2 * error, session.flows)
            found.append((abs(share - want) / accepted, f"{session.name}: {route}", got, want, accepted))
    if not found:
        nothing = Estimate(0.0, 0.0, 0)
        return entry("realised against decided split", nothing, 0.0, SPLIT_TOLERANCE, "undecided", "no route", "ratio")
    off, name, got, want, accepted = max(found, key=lambda row: row[:2])
    said: Verdict = "met" if off <= 1 else "not met"
    note = f"{name}, the farthest off; accepted is 1 point, or two binomial standard errors of its {got.n} flows"
    return entry("realised against decided split", got, want, accepted, said, note, "ratio")


def _growth(account: Account) -> dict[str, Any]:
    """Whether delays were growing: the interval of the slope must not lie above 0."""
    slope = account.measured.slope
    said: Verdict = "met" if slope.low <= 0 else "not met"
    if not np.isfinite(slope.ci95):
        said = "undecided"
    tolerance = slope.ci95 if np.isfinite(slope.ci95) else 0.0
    return entry("growth of the delay", slope, 0.0, tolerance, said, "s a second; 0 lies in its interval", "ratio")


def _whole(account: Account) -> list[dict[str, Any]]:
    """Nothing refused, if not by a market, nothing else lost, nothing twice, and every loss accounted for."""
    sessions = account.measured.sessions
    refused = account.turned_away
    sent = f"of {sum(session.sent for session in sessions)} requests in the time measured"
    if account.spells:
        largest = sorted(account.spells, key=lambda spell: -spell.share)[:SPELLS]
        told = ", ".join(map(str, largest)) + (", and less" if len(account.spells) > SPELLS else "")
        sent += f"; {refused} more were refused at the ingress; refused since the phase began (0: measured): {told}"
    twice = sum(session.duplicated for session in sessions)
    lost = sum(session.lost for session in sessions) - refused
    shed = [] if account.is_market else [count("requests refused", refused, sent)]
    return [
        *shed,
        count("requests lost", lost, sent),
        count("requests duplicated", twice, sent),
        count("losses unaccounted for", account.losses["unaccounted"], "requests and answers of the whole phase"),
    ]


def _gaps(account: Account) -> list[dict[str, Any]]:
    """How near to the model's optimum the live prices led."""
    gaps = account.live_gaps[:GAP_TICKS]
    enough = gaps.size == GAP_TICKS
    average, largest = mean(gaps), float(gaps.max()) if gaps.size else np.inf
    note = f"the first {gaps.size} ticks after {account.log.settle:.0f} s from a cold start, at the offered rates"
    said: Verdict = at_most(Estimate(average.value, 0.0, average.n), GAP_LIMIT) if enough else "undecided"
    peak: Verdict = ("met" if largest <= GAP_WORST else "not met") if enough else "undecided"
    return [
        entry("live allocation above the optimum, mean", average, GAP_LIMIT, None, said, note, "ratio"),
        entry(
            "live allocation above the optimum, worst",
            Estimate(largest, 0.0, gaps.size),
            GAP_WORST,
            None,
            peak,
            note,
            "ratio",
        ),
    ]


def _signalling(account: Account) -> dict[str, Any]:
    """What price agents of servers say, by the switches' counters: one message of one price each a second."""
    start, end = account.log.window
    records = [record["signalling"] for record in account.log.records if start <= record["time"] < end]
    said = {kind: mean(np.array([record[kind] / 8 for record in records])) for kind in ("servers", "links", "sources")}
    asked = {name for session in account.network.sessions if session.kind == "anycast" for name in session.destinations}
    expected = float(len(asked) * Message("prices", 0, 1, 0.0, 0.0, {0: 0.0}).octets)
    note = (
        f"{expected / max(len(asked), 1):.0f} a server; switches say {said['links'].value:.0f} more, "
        f"sources {said['sources'].value:.0f}; n: ticks"
    )
    met = verdict(said["servers"], expected, SIGNALLING_TOLERANCE)
    return entry(
        "signalling of servers", said["servers"], expected, SIGNALLING_TOLERANCE * expected, met, note, "ratio"
    )


def _tick(account: Account) -> dict[str, Any]:
    seconds = np.array([record["tick_s"] for record in account.log.records])
    value = Estimate(float(np.quantile(seconds, 0.99)) if seconds.size else np.nan, 0.0, int(seconds.size))
    return entry("99th percentile of a tick", value, TICK_LIMIT_S, None, at_most(value, TICK_LIMIT_S), "n: ticks", "s")


def _shed(account: Account) -> list[dict[str, Any]]:
    """The session whose refused share is farthest from the decided one, as `_splits`; none unless shed."""
    found = []
    for session, figures, let_in in zip(
        account.network.sessions, account.measured.sessions, account.let_in.tolist(), strict=True
    ):
        decided = 1 - float(np.mean([record["served"][session.name] for record in account.records]))
        if decided > 0 and figures.offered.value:
            error = binomial_error(decided, session.flows)
            accepted = max(SPLIT_TOLERANCE, 2 * error)
            got = Estimate(1 - let_in / figures.offered.value, 2 * error, session.flows)
            found.append((abs(got.value - decided) / accepted, session.name, got, decided, accepted))
    if not found:
        return []
    off, name, got, decided, accepted = max(found, key=lambda row: row[:2])
    note = f"{name}, the farthest off of {len(found)}; accepted is 1 point, or two binomial errors of its {got.n} flows"
    said: Verdict = "met" if off <= 1 else "not met"
    return [entry("refused against decided share", got, decided, accepted, said, note, "ratio")]


def _cleared(account: Account) -> list[dict[str, Any]]:
    """What a market has to show: links carry what was cleared, full ones their share, workloads do not mix.

    A market has no queues, so nothing is said of delays.
    """
    told = [record["market"]["links"] for record in account.records if "market" in record]
    off: list[tuple[float, str, Estimate]] = []
    full: list[tuple[float, str, Estimate, float]] = []
    passed = account.log.queues.window(*account.log.window)
    paced = all(session.arrivals == PACED for session in account.network.sessions)
    for index, link in enumerate(account.network.links):
        cleared = [links[index]["load"] for links in told if links[index]]
        if not cleared or np.mean(cleared) < USED * link.capacity:
            continue
        load = counted(account.edges, account.loads[:, index]) if paced else account.link_load(index)
        expected, room = float(np.mean(cleared)), SHARE * link.capacity
        gone = Estimate(load.value / expected - 1, load.ci95 / expected, load.n)
        off.append((abs(gone.value), str(link), gone))
        if np.median(cleared) > (1 - FULL) * room:
            lost = float(np.ptp(passed.drops[:, index])) / max(float(np.ptp(passed.passed[:, index])), 1.0)
            full.append((load.value / room, str(link), Estimate(load.value / room, load.ci95 / room, load.n), lost))
    nothing = Estimate(0.0, 0.0, 0)
    _, name, farthest = max(off, default=(0.0, "no link", nothing), key=lambda row: row[:2])
    said = verdict(farthest, 0.0, absolute=LOAD_TOLERANCE)
    note = f"{name}, the farthest off of {len(off)} links above {USED:.0%} utilization"
    found = [entry("load of a link against the cleared flow", farthest, 0.0, LOAD_TOLERANCE, said, note, "ratio")]
    if full:
        _, name, least, _ = min(full, key=lambda row: row[:2])
        said = at_most(Estimate(-least.value, least.ci95, least.n), -FILLED)
        note = f"{name}, the least full of {len(full)} that are cleared full; of {SHARE:g} of its capacity"
        found.append(entry("load of a full link over its share", least, FILLED, None, said, note, "ratio"))
        lost = max(row[3] for row in full)
        said = "met" if lost < LOST else "not met"
        note = f"packets dropped over packets passed, the worst of {len(full)}"
        found.append(entry("loss at a full link", Estimate(lost, 0.0, len(full)), LOST, None, said, note, "ratio"))
    return [*found, _apart(account)]


def _apart(account: Account) -> dict[str, Any]:
    """The session whose measured demand is farthest from what its sender sent; pages are fetched over the first one."""
    anycast = (session.name for session in account.network.sessions if session.kind == "anycast")
    fetching = next(anycast, "") if account.log.pages else ""
    found = []
    for figures in account.measured.sessions:
        if figures.name == fetching:
            continue
        told = mean(np.array([record["offered"][figures.name] for record in account.records]))
        if figures.offered.value:
            gone = told.value / figures.offered.value - 1
            found.append((abs(gone), figures.name, Estimate(gone, 0.0, told.n)))
    _, name, off = max(found, default=(0.0, "no session", Estimate(0.0, 0.0, 0)), key=lambda row: row[:2])
    said: Verdict = "met" if abs(off.value) <= LOAD_TOLERANCE else "not met"
    note = f"{name}, the farthest off of {len(found)} sessions: what its ingress counted against what its sender sent"
    return entry("demand of a session, told apart", off, 0.0, LOAD_TOLERANCE, said, note, "ratio")
