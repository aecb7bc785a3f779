"""Recordings: what each tick was told and what it decided, a JSON line a tick, and the same decided again from it.

A tick is a function of values (`controller.tick`), so a recording needs no packets: its first line holds the network,
the plant and the versions that decided; each line after it one tick's inputs, whether the switches took the rules, and
a digest of the decision and of every change that was to be sent. `replayed` runs the same functions on the
same inputs: equal digests are equal decisions, byte for byte. What was found to have failed is beside them, and must be
found again. A recording is all that a report of a bug needs. Where switches are asked for what they hold, at the start
and when one returns, that is not in it: until their rules are acknowledged again the digest leaves out the changes, and
says what was decided alone.

    {"recording": "wardrop-recording-2", "network": {...}, "plant": {...}, "slots": 512, "versions": {...}}
    {"tick": 1, "policy": "joint", "laws": "measured", "now": 12.5, "dead": [["a", 2]], "arrived": [], "counts":
     [["out", "a", 1, packets, octets, time], ...], "exports": [["east", time, jobs, amount, squares, waiting], ...],
     "asked": {}, "members": [], "outage": {"links": [["a", "d"], ["d", "a"]], "servers": [], "absent": []},
     "installed": true, "error": null, "digest": "..."}

`now` is null before the first counters: the first rules are installed at the nominal rates.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, TextIO

from controller import adopt, health, tick
from controller.exports import Export
from controller.fabric import Fabric
from controller.labels import Labels, Path
from controller.laws import law_name
from controller.measure import Count
from controller.plant import plant_from_json
from controller.tick import Inputs, Plan
from pricing.errors import MeasurementError
from pricing.network import Route
from pricing.outage import NOTHING, Outage
from pricing.policy import get_policy
from pricing.written import network_from_json, network_to_json

FORM = "wardrop-recording-2"
"""What `recording` says in the first line."""


def versions() -> dict[str, str]:
    """What decisions may depend on beside their inputs."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy", "networkx")}}


def digest(plan: Plan, changes: bool) -> str:
    """128 bits of a decision's prices and splits, of what is let in, and of each change where the inputs explain it."""
    decision, found = plan.decision, blake2b(digest_size=16)
    prices = [decision.prices.links.tolist(), decision.prices.servers.tolist()]
    splits = [(str(route), route.session, float(weight)) for route, weight in decision.allocation]
    for part in (prices, splits, sorted(plan.served.items()), *(plan.delta if changes else ())):
        found.update(repr(part).encode() + b"\n")
    return found.hexdigest()


class Recorder:
    """Writes a recording while ticks go on."""

    def __init__(self, stream: TextIO, fabric: Fabric) -> None:
        self._stream = stream
        self._asked = False
        network = json.loads(network_to_json(fabric.network))
        head = {"recording": FORM, "network": network, "plant": asdict(fabric.plant), "slots": fabric.slots}
        self._write({**head, "versions": versions()})

    def tick(
        self, number: int, inputs: Inputs, plan: Plan | None, error: Exception | None, outage: Outage = NOTHING
    ) -> None:
        """One tick: what it was told, its plan where it had one, what kept it from being in force, what had failed."""
        counts = [[*key, count.packets, count.octets, count.time] for key, count in inputs.counts.items()]
        told = {"tick": number, "policy": inputs.policy.name, "laws": inputs.laws, "now": inputs.now}
        came = {"installed": error is None, "error": type(error).__name__ if error else None}
        self._asked = self._asked or bool(inputs.arrived)
        found = digest(plan, not self._asked) if plan else None
        self._asked = self._asked and error is not None
        adopted = None
        if inputs.adopted:
            labels, deals = inputs.adopted
            adopted = {"paths": [asdict(path) if path else None for path in labels.paths], "deals": dict(deals)}
        heard = {"dead": sorted(inputs.dead), "arrived": list(inputs.arrived), "adopted": adopted, "counts": counts}
        heard |= {"exports": [list(asdict(one).values()) for one in inputs.exports]}
        asked = {
            name: [[route.links, route.server, weight] for route, weight in split]
            for name, split in inputs.asked.items()
        }
        heard |= {"asked": asked, "members": sorted(inputs.members), "outage": _told(outage)}
        self._write({**told, **heard, **came, "digest": found})

    def _write(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


@dataclass(frozen=True)
class Replayed:
    """One tick decided again.

    Parameters
    ----------
    recorded, found : str or None
        Digests; None where the tick had no plan.
    error : str
        Kind of the error that ended it when it was recorded, or empty.
    outage : Outage
        What was found to have failed.
    known : bool
        Whether the same had been found when it was recorded.
    decided : mapping of session name to list of (route, weight)
        The allocation in force after it.
    """

    tick: int
    policy: str
    recorded: str | None
    found: str | None
    error: str
    outage: Outage
    known: bool
    decided: dict[str, list[list[Any]]]

    @property
    def same(self) -> bool:
        """Whether the same was found to have failed, and the same decided."""
        return self.known and self.recorded == self.found


@dataclass(frozen=True)
class Recording:
    """What the first line says, and the lines after it."""

    fabric: Fabric
    versions: dict[str, str]
    ticks: list[dict[str, Any]]


def recording_from_lines(lines: Iterable[str]) -> Recording:
    """The recording of these lines; a last line that was cut off while it was written is passed over.

    Raises
    ------
    MeasurementError
        When a line is no JSON, or the first is no head of a recording, or holds nothing after it.
    TopologyError
        When its network or plant is none.
    """
    whole = [line for line in lines if line.endswith("\n")]
    try:
        head, *ticks = [json.loads(line) for line in whole]
        if head["recording"] != FORM:
            raise ValueError(f"its form is {head['recording']!r}")
        network = network_from_json(json.dumps(head["network"]))
        fabric = Fabric(network, plant_from_json(json.dumps(head["plant"]), network), head["slots"])
        return Recording(fabric, head["versions"], ticks)
    except (ValueError, KeyError, TypeError) as error:
        raise MeasurementError(
            f"not a recording ({error}); what `bin/wardrop run SCENARIO --recording FILE` wrote is accepted, {FORM}"
        ) from error


def replayed(recording: Recording) -> Iterator[Replayed]:
    """Each tick decided again, from what it was told; the switches answer as they did.

    Raises
    ------
    MeasurementError
        When a line lacks a field.
    WardropError
        When it names a policy that there is not.
    """
    fabric, state, asked = recording.fabric, None, False
    for line in recording.ticks:
        inputs, plan = _inputs(line), None
        if state is None or inputs.adopted:
            state = _begun(fabric, inputs)
        state = tick.informed(fabric, state, inputs)
        try:
            if line["digest"] or line["error"] != "InstallError":  # else a switch kept it from looking and deciding
                failed = health.outage(fabric, inputs.dead, state.silences, inputs.members)
                state = tick.with_outage(fabric, state, failed)
                force = state.decision if inputs.adopted else None
                plan = tick.restore(fabric, state, force) if force else tick.plan(fabric, state)
        except Exception:  # a tick that found no plan, as it did then or not, whatever its policy raised
            pass
        else:
            if plan:
                state = (tick.acknowledged if line["installed"] else tick.refused)(state, plan)
        splits = state.decision.allocation.splits if state.decision else {}
        decided = {name: [[str(route), float(weight)] for route, weight in split] for name, split in splits.items()}
        asked = asked or bool(inputs.arrived)
        found = digest(plan, not asked) if plan else None
        asked = asked and not line["installed"]
        known = line["outage"] == json.loads(json.dumps(_told(state.outage)))
        error, policy = line["error"] or "", inputs.policy.name
        yield Replayed(line["tick"], policy, line["digest"], found, error, state.outage, known, decided)


def _told(outage: Outage) -> dict[str, Any]:
    return {name: sorted(getattr(outage, name)) for name in ("links", "servers", "absent")}


def _begun(fabric: Fabric, inputs: Inputs) -> tick.State:
    """The state before the first tick."""
    if inputs.adopted is None:
        return tick.first_state(fabric, inputs.policy, inputs.laws)
    labels, deals = inputs.adopted
    return adopt.resumed(fabric, inputs.policy, labels, deals, health.outage(fabric, inputs.dead, {}, inputs.members))


def _inputs(line: dict[str, Any]) -> Inputs:
    try:
        counts = {
            (what, switch, n): Count(packets, octets, at) for what, switch, n, packets, octets, at in line["counts"]
        }
        dead = frozenset((switch, port) for switch, port in line["dead"])
        line["installed"], line["digest"], line["error"], line["tick"], line["outage"]
        known = None
        if found := line["adopted"]:
            paths = [Path.read(path) if path else None for path in found["paths"]]
            known = Labels(tuple(paths)), {name: tuple(numbers) for name, numbers in found["deals"].items()}
        heard = tuple(Export(*row) for row in line["exports"])
        policy, law = get_policy(line["policy"]), law_name(line["laws"])
        asked = {name: tuple(_weighted(name, *row) for row in split) for name, split in line["asked"].items()}
        members = frozenset((session, node) for session, node in line["members"])
        return Inputs(policy, dead, counts, line["now"], tuple(line["arrived"]), known, law, heard, asked, members)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"not a tick of a recording: {type(error).__name__} {error}") from error


def _weighted(session: str, links: list[tuple[str, str]], server: str, weight: float) -> tuple[Route, float]:
    return Route(session, tuple((src, dst) for src, dst in links), server), weight
