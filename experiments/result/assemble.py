"""From what was seen to the result file: measured, predicted and model figures of each phase, side by side.

*Measured* comes from packets and counters; *predicted* sends the same packets through the queues of the routes that
were installed; *model* is the sum of independent queues at the measured loads. `docs/reference/report.md` describes
every field made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from controller.hashing import UDP, slots_of
from experiments.result import schema
from experiments.result.choices import Choices, parse_route
from experiments.result.estimate import Estimate, mean
from experiments.result.measure import Mask, Measured, Requests, Window, join, measure, unaccounted
from experiments.result.predict import Prediction, predict
from experiments.result.refused import Spell, spells, turned_away
from experiments.running.campaign import excluded_seconds
from experiments.running.phase import PhaseLog
from pricing.errors import WardropError
from pricing.joint.certificate import certify
from pricing.joint.optimum import optimum
from pricing.network import Allocation, Network
from pricing.problem import Evaluation, evaluate, make_allocation, problem_of
from pricing.spread import ways
from pricing.values import FloatArray
from topologies.calibration import NOMINAL, Calibration
from topologies.hosts.sockets import FLOW_PORT, SERVICE_PORT
from topologies.plant import Plant

PIECES = 30
"""Equal pieces of the time measured, in which loads of links are held against each other (ours)."""


@dataclass(frozen=True)
class Account:
    """One phase with everything that can be said of it.

    Parameters
    ----------
    network : Network
        As emulated: without propagation where the kernel cannot delay.
    plant : Plant
    log : PhaseLog
    calibration : Calibration
        Of the machine that it ran on.
    """

    network: Network
    plant: Plant
    log: PhaseLog
    calibration: Calibration = NOMINAL

    @cached_property
    def window(self) -> Window:
        """The time measured."""
        return Window(*self.log.window, excluded_seconds(self.log))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The controller's ticks in the time measured; where it made none, the one whose decision was in force."""
        start, end = self.log.window
        ticks = [record for record in self.log.history if "tick" in record and record["time"] <= end]
        return [record for record in ticks if record["time"] >= start] or ticks[-1:]

    @cached_property
    def requests(self) -> Requests:
        """One row a request."""
        served = {name: rows for name, (rows, _) in self.log.served.items()}
        sent = {name: rows for name, (rows, _) in self.log.requests.items()}
        return join(self.network, sent, served, {name: rows for name, (rows, _) in self.log.answers.items()})

    @cached_property
    def measured(self) -> Measured:
        """Figures of the window."""
        served = {name: rows for name, (rows, _) in self.log.served.items()}
        return measure(self.network, self.requests, served, self.window)

    @cached_property
    def prediction(self) -> Prediction:
        """The packet simulation of the same packets, without those that were refused."""
        return predict(
            self.network, self.requests, self.choices, self.window, self.plant.netem, self.edges, self.calibration
        )

    @cached_property
    def choices(self) -> dict[str, Choices]:
        """The routes that the flows of each session took."""
        choices = {}
        for session in self.network.sessions:
            source = self.plant.hosts[self.plant.host_at(session.source)].ip
            ports = FLOW_PORT + np.arange(session.flows)
            count = len(next(record["slots"][session.name] for record in self.log.history if "slots" in record))
            slots = slots_of(source, self.plant.address(session), UDP, ports, SERVICE_PORT, count)
            choices[session.name] = Choices.recorded(self.network, session.name, self.log.history, slots)
        return choices

    @property
    def is_market(self) -> bool:
        """Whether a market decided in the time measured."""
        return any("market" in record for record in self.records)

    @cached_property
    def spells(self) -> list[Spell]:
        """When which part of a session was refused."""
        return spells(self.log.history, self.log.start, self.log.window)

    @cached_property
    def refused(self) -> Mask:
        """Which requests were refused at the ingress."""
        return turned_away(self.network, self.requests, self.choices)

    @cached_property
    def turned_away(self) -> int:
        """How many requests of the time measured were refused at the ingress."""
        return int((self.refused & self.window.holds(self.requests.sent)).sum())

    @cached_property
    def edges(self) -> FloatArray:
        """Unix times that cut the window into the pieces in which loads are compared."""
        return np.linspace(*self.log.window, PIECES + 1)

    @cached_property
    def loads(self) -> FloatArray:
        """Measured load of each link in each piece, bit/s, shape (PIECES, L)."""
        return self.log.queues.loads(self.edges)

    @cached_property
    def signalling(self) -> FloatArray:
        """What agents' messages put on each link, bit/s, mean over the window's ticks, shape (L,)."""
        said = [record["signalling_links"] for record in self.records]
        return np.mean(said, axis=0) if said else np.zeros(len(self.network.links))

    @cached_property
    def predicted_loads(self) -> FloatArray:
        """Load of each link in each piece, bit/s, shape (PIECES, L): the packet simulation's, and the signalling."""
        return self.prediction.loads + self.signalling

    @cached_property
    def offered(self) -> FloatArray:
        """bit/s that each session offered in the window, shape (K,)."""
        return np.array([figures.offered.value for figures in self.measured.sessions])

    @cached_property
    def let_in(self) -> FloatArray:
        """bit/s of each session that was not refused, shape (K,)."""
        inside, count = self.window.holds(self.requests.sent), len(self.network.sessions)
        sent = np.bincount(self.requests.session[inside], minlength=count)
        turned = np.bincount(self.requests.session[inside & self.refused], minlength=count)
        return self.offered * (1 - turned / np.maximum(sent, 1))

    @cached_property
    def allocation(self) -> Allocation:
        """The decided allocation, mean over the window's ticks."""
        routes, weights = [], []
        for session, split in self.decided.items():
            for text, weight in split.items():
                routes.append(parse_route(self.network, session, text))
                weights.append(weight)
        return make_allocation(routes, weights)

    @cached_property
    def decided(self) -> dict[str, dict[str, float]]:
        """Decided weight of each route of each session, mean over the window's ticks."""
        return _mean_splits([record["decided"] for record in self.records])

    @cached_property
    def realised(self) -> dict[str, dict[str, float]]:
        """Share of each session's packets by route from the labels' counters, mean over the window's ticks."""
        return _mean_splits([record["realised"] for record in self.records])

    @cached_property
    def model(self) -> Evaluation:
        """Independent queues under the mean allocation at the rates let in."""
        return evaluate(self.network, self.allocation, self.let_in)

    @property
    def law(self) -> schema.Law:
        """How the delays of all requests spread by the model."""
        loads = np.concatenate([self.model.loads.links, self.model.loads.servers])
        return schema.law(self.network, ways(self.network, self.allocation, self.let_in), loads)

    @cached_property
    def live_gaps(self) -> FloatArray:
        """How far the model's objective of each tick's allocation was above its optimum, ratios."""
        pairs = [(record["objective"], record["optimum"]) for record in self.records]
        return np.array([up / low - 1 for up, low in pairs if up is not None and low])

    def run(self) -> dict[str, Any]:
        """The entry of `runs`, without its verdicts."""
        measured, prediction, model = self.measured, self.prediction, self.model
        best = optimum(self.network, self.let_in)
        at_best = evaluate(self.network, best.allocation, self.let_in)
        certificate = certify(self.network, self.allocation, self.let_in)
        quiet = self.window.quiet(self.requests.sent)
        return {
            "policy": str(self.log.setting),
            "duration_s": self.log.measure,
            "sessions": [self._session(index) for index in range(len(self.network.sessions))],
            "links": [self._link(index) for index in range(len(self.network.links))],
            "servers": [self._server(index) for index in range(len(self.network.servers))],
            "objective": {
                "mean_delay_s": measured.delay.mean.as_json(),
                "predicted_mean_delay_s": _number(prediction.delay.mean.value),
                "model_mean_delay_s": _number(model.mean_delay),
                "optimum_mean_delay_s": _number(at_best.mean_delay),
                "gap": _number(float(self.live_gaps.mean()) if self.live_gaps.size else np.nan),
                "kkt_residual": _number(certificate.kkt_residual),
            },
            "control": self._control(),
            "delay_parts_s": {
                "network": measured.parts.network.as_json(),
                "wait": measured.parts.wait.as_json(),
                "work": measured.parts.work.as_json(),
            },
            "queue_slope": measured.slope.as_json(),
            "losses": self.losses,
            "refused": [spell.as_json() for spell in self.spells],
            "pages": dict(self.log.pages),
            "background": [{"name": name, **told} for name, told in sorted(self.log.background.items())],
            "verdicts": [],
            "steal": _number(float(np.mean([second.steal for second in self.log.seconds] or [0.0]))),
            "excluded_s": float(len(self.window.excluded)),
            "ticks": schema.ticks(self.log.records, self.log.window),
            "delay_histogram": schema.distribution(
                _finite(self.requests.delay[quiet]), _finite(prediction.delays[quiet]), self.law
            ),
        }

    def _session(self, index: int) -> dict[str, Any]:
        session, figures = self.network.sessions[index], self.measured.sessions[index]
        decided, realised = self.decided.get(session.name, {}), self.realised.get(session.name, {})
        delay = figures.delay
        return {
            "name": session.name,
            "kind": session.kind,
            "class": session.klass,
            "offered_bps": figures.offered.value,
            "delivered_bps": figures.delivered.value,
            "sent": figures.sent,
            "received": figures.received,
            "lost": figures.lost,
            "duplicated": figures.duplicated,
            "reordered": figures.reordered,
            "delay_s": {
                "mean": delay.mean.as_json(),
                "p50": delay.p50.as_json(),
                "p95": delay.p95.as_json(),
                "p99": delay.p99.as_json(),
            },
            "predicted_delay_s": _number(self.prediction.sessions[index].delay.mean.value),
            "model_delay_s": _number(self.model.sessions[session.name].total),
            "split": [
                {
                    "route": route,
                    "decided": decided.get(route, 0.0),
                    "realised": {
                        "value": realised.get(route, 0.0),
                        "ci95": 2 * binomial_error(decided.get(route, 0.0), session.flows),
                        "n": session.flows,
                    },
                }
                for route in sorted(decided.keys() | realised.keys())
            ],
        }

    def link_load(self, index: int) -> Estimate:
        """Measured load of a link, bit/s, by its queue's counters."""
        return mean(self.loads[:, index])

    def _link(self, index: int) -> dict[str, Any]:
        link, predicted, load = self.network.links[index], self.prediction.links[index], self.link_load(index)
        return {
            "src": link.src,
            "dst": link.dst,
            "capacity_bps": link.capacity,
            "load_bps": load.as_json(),
            "predicted_load_bps": float(self.predicted_loads[:, index].mean()),
            "signalling_bps": float(self.signalling[index]),
            "utilization": load.value / link.capacity,
            "wait_s": self._link_wait(index).as_json(),
            "predicted_wait_s": _number(predicted.wait.value),
            "model_wait_s": self._model_wait(index, load.value),
            "price": self.price("links", index),
        }

    def _link_wait(self, index: int) -> Estimate:
        """Mean wait by Little's law: packets in the queue over packets a second."""
        queues = self.log.queues.window(*self.log.window)
        if len(queues.times) < 2:
            return Estimate(np.nan, np.inf, 0)
        passed = queues.passed[-1, index] - queues.passed[0, index]
        if not passed:
            return Estimate(np.nan, np.inf, 0)
        rate = passed / (queues.times[-1] - queues.times[0])
        backlog = mean(queues.backlog[:, index])
        return Estimate(backlog.value / rate, backlog.ci95 / rate, backlog.n)

    def _server(self, index: int) -> dict[str, Any]:
        server, predicted = self.network.servers[index], self.prediction.servers[index]
        figures = next(each for each in self.measured.servers if each.name == server.name)
        return {
            "name": server.name,
            "capacity": server.capacity,
            "load": figures.load.as_json(),
            "predicted_load": predicted.load.value,
            "utilization": figures.utilization,
            "wait_s": figures.wait.as_json(),
            "predicted_wait_s": _number(predicted.wait.value),
            "model_wait_s": self._model_wait(len(self.network.links) + index, figures.load.value),
            "price": self.price("servers", index),
        }

    def _model_wait(self, resource: int, load: float) -> float | None:
        """Wait in an independent queue at a measured load: the law's delay less what it has at no load."""
        laws = problem_of(self.network).laws
        loads = np.zeros(len(laws.capacity))
        empty = laws.delay(loads)[resource]
        loads[resource] = load
        return _number(float(laws.delay(loads)[resource] - empty))

    def price(self, kind: str, index: int) -> float | None:
        prices = [record[kind][index]["price"] for record in self.records]
        known = [price for price in prices if price is not None]
        return float(np.mean(known)) if known else None

    def _control(self) -> dict[str, Any]:
        seconds = [record["tick_s"] for record in self.log.records]
        quantiles = np.quantile(seconds, [0.5, 0.99]) if seconds else [np.nan, np.nan]
        return {
            "ticks": len(seconds),
            "failed_ticks": sum(record["error"] is not None for record in self.log.records),
            "tick_s": {"p50": _number(float(quantiles[0])), "p99": _number(float(quantiles[1]))},
            "rules_changed": sum(record["rules_changed"] for record in self.log.records),
        }

    @cached_property
    def losses(self) -> dict[str, int]:
        """Packets of the whole phase, requests and answers, that were lost, by place."""
        served = [summary for _, summary in self.log.served.values()]
        answers = [summary for _, summary in self.log.answers.values()]
        taken = sum(summary["received"] + summary["malformed"] for summary in served)
        sent = sum(summary["sent"] for _, summary in self.log.requests.values())
        answered = sum(summary["answers"] for summary in served)
        returned = sum(summary["received"] for summary in answers)
        queues = self.log.queues
        places = {
            "sender": sum(summary["scheduled"] - summary["sent"] for _, summary in self.log.requests.values())
            + sum(summary["errors"] for summary in served),
            "link queue": int((queues.drops[-1] - queues.drops[0]).sum()) if len(queues.times) else 0,
            "switch": self.log.switch_drops,
            "socket": sum(summary["socket_drops"] for summary in (*served, *answers)),
            "server queue": sum(summary["received"] - summary["served"] for summary in served),
        }
        on_the_way = {place: places[place] for place in ("link queue", "switch", "socket")}
        missing = unaccounted(sent + answered, taken + returned, on_the_way)
        # A switch whose slot has no route may count what it drops there among its own drops, or not at all.
        nowhere = max(missing, 0)
        places["refused"] = min(int(self.refused.sum()), nowhere + places["switch"])
        places["switch"] -= max(places["refused"] - nowhere, 0)
        missing -= min(places["refused"], nowhere)
        # Where it is refused, the pages that are fetched beside it are too, and nobody misses their packets.
        pages = min(places["switch"], max(-missing, 0)) if places["refused"] else 0
        places["switch"] -= pages
        missing += pages
        # Queues and switches count packets of the background too, which nobody misses here.
        return places | {"unaccounted": max(missing, 0) if self.log.background else missing}


def binomial_error(weight: float, flows: int) -> float:
    """Standard error of the share of equal flows that a hash sends to a route of that weight."""
    return float(np.sqrt(weight * (1 - weight) / max(flows, 1)))


def report(
    accounts: Sequence[Account], scenario: str, seed: int, command: str, machine: dict[str, Any]
) -> dict[str, Any]:
    """The result file's content, without verdicts (`experiments.result.verdicts` adds them); raises as `head`."""
    return head(accounts, scenario, seed, command, machine) | {"runs": [account.run() for account in accounts]}


def head(
    accounts: Sequence[Account], scenario: str, seed: int, command: str, machine: dict[str, Any]
) -> dict[str, Any]:
    """What a result file says of the circumstances.

    Raises
    ------
    WardropError
        When no phase was run.
    """
    if not accounts:
        raise WardropError("no phase was run: there is nothing to report")
    first = accounts[0]
    seconds = [second for account in accounts for second in account.log.seconds]
    return {
        "schema": schema.NAME,
        "scenario": scenario,
        "seed": seed,
        "command": command,
        "machine": {
            "datapath": first.plant.datapath,
            "netem": first.plant.netem,
            **machine,
            "steal": float(np.mean([second.steal for second in seconds] or [0.0])),
            "late_p99_s": late_p99([account.log for account in accounts]),
            "excluded_s": float(sum(len(account.window.excluded) for account in accounts)),
        },
        "topology": schema.topology(first.network),
    }


def late_p99(logs: Sequence[PhaseLog]) -> float:
    """99th percentile of how late requests were sent, s."""
    late = [rows["sent"][sent] - rows["due"][sent] for log in logs for rows, sent in _sent_rows(log)]
    joined = np.concatenate(late) if late else np.zeros(0)
    return float(np.quantile(joined, 0.99)) / 1e9 if joined.size else 0.0


def _sent_rows(log: PhaseLog) -> list[tuple[Any, Any]]:
    return [(rows, rows["sent"] > 0) for rows, _ in log.requests.values()]


def _mean_splits(ticks: Sequence[dict[str, list[list[Any]]]]) -> dict[str, dict[str, float]]:
    """Mean weight of each route over ticks; a route that a tick does not name has none in it."""
    total: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    for tick in ticks:
        for session, split in tick.items():
            if not split:
                continue
            counts[session] = counts.get(session, 0) + 1
            for route, weight in split:
                routes = total.setdefault(session, {})
                routes[str(route)] = routes.get(str(route), 0.0) + float(weight)
    return {name: {route: w / counts[name] for route, w in sorted(routes.items())} for name, routes in total.items()}


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _number(value: float) -> float | None:
    """The number, or None for what is not known."""
    return float(value) if np.isfinite(value) else None
