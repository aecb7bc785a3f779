"""What Prometheus is told: every metric is declared once, in `METRICS`, and read from the last record line.

Names follow Prometheus' conventions: one prefix, base units, the unit in the name, `_total` for counters. A series
whose link, server, session or route is gone goes away with it, and a value that is not known has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from controller.declared import TICK_BUCKETS, Declared, Line, Read, Sample, Snapshot, Told, Totals
from controller.told import PROGRAMS
from pricing.network import Network


def _links(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        for link, row in zip(seen.network.links, seen.line.get("links", ()), strict=False):
            yield link.key, row[key]

    return samples


def _servers(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        for server, row in zip(seen.network.servers, seen.line.get("servers", ()), strict=False):
            yield (server.name,), row[key]

    return samples


def _by_name(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        for name, value in seen.line.get(key, {}).items():
            yield (name,), value

    return samples


def _quoted(kind: Literal["links", "servers"], key: str) -> Read:
    """Of links or servers, what a market says; nothing under another policy."""

    def samples(seen: Snapshot) -> Iterator[Sample]:
        rows = seen.line.get("market", {}).get(kind, ())
        links, servers = seen.network.links, seen.network.servers
        names: list[tuple[str, ...]] = [one.key for one in links] if kind == "links" else [(s.name,) for s in servers]
        for name, row in zip(names, rows, strict=False):
            yield name, row and row[key]

    return samples


def _market(key: str) -> Read:
    """Of sessions, what a market says."""

    def samples(seen: Snapshot) -> Iterator[Sample]:
        for name, value in seen.line.get("market", {}).get(key, {}).items():
            yield (name,), value

    return samples


def _cleared(key: str, seen: Snapshot) -> Iterator[Sample]:
    if "market" in seen.line:
        yield (seen.line["market"]["currency"],), seen.line["market"][key]


def _stranded(seen: Snapshot) -> Iterator[Sample]:
    for name in seen.line.get("served", {}):
        yield (name,), float(name in seen.line["stranded"])


def _splits(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        for name, split in seen.line.get(key, {}).items():
            for route, weight in split:
                yield (name, route), weight

    return samples


def _copies(seen: Snapshot) -> Iterator[Sample]:
    for name, found in seen.line.get("copies", {}).items():
        yield (name,), found["links"]


def _made(seen: Snapshot) -> Iterator[Sample]:
    for name, found in seen.line.get("copies", {}).items():
        yield from (((name, node), count) for node, count in found["made"].items())


def _dropped(seen: Snapshot) -> Iterator[Sample]:
    for host, kinds in seen.line.get("dropped", {}).items():
        for kind, packets in kinds.items():
            yield (host, kind), packets


def _classes(key: str) -> Read:
    """By machine and class, 1 first."""

    def samples(seen: Snapshot) -> Iterator[Sample]:
        told = seen.line.get("classes", {})
        for machine, row in zip(told.get("machines", ()), told.get(key, ()), strict=True):
            for klass, value in enumerate(row, 1):
                yield (machine, str(klass)), value

    return samples


def _machines(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        told = seen.line.get("classes", {})
        for machine, value in zip(told.get("machines", ()), told.get(key, ()), strict=True):
            yield (machine,), value

    return samples


def _refused(seen: Snapshot) -> Iterator[Sample]:
    for kind, count in sorted(seen.refused.items()):
        yield (kind,), count


def _members(seen: Snapshot) -> Iterator[Sample]:
    for name, nodes in seen.line.get("members", {}).items():
        yield (name,), len(nodes)


def _bytes(read: Read) -> Read:
    """In Prometheus' base unit what is bit/s everywhere else."""

    def samples(seen: Snapshot) -> Iterator[Sample]:
        for labels, value in read(seen):
            yield labels, None if value is None else value / 8

    return samples


def _value(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        yield (), seen.line.get(key)

    return samples


def _total(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        yield (), getattr(seen.totals, key)

    return samples


def _errors(seen: Snapshot) -> Iterator[Sample]:
    for kind, count in sorted(seen.totals.errors.items()):
        yield (kind,), count


def _policy(seen: Snapshot) -> Iterator[Sample]:
    if "policy" in seen.line:
        yield (seen.line["policy"],), 1.0


_CLASS = ("machine", "class")
_LINK, _SERVER, _SESSION, _SPLIT = ("src", "dst"), ("server",), ("session",), ("session", "route")
_MONEY = ("currency",)

METRICS: tuple[Declared, ...] = (
    Declared(
        "wardrop_link_load_bytes_per_second",
        "gauge",
        "Load of a link, measured",
        "byte/s",
        _LINK,
        _bytes(_links("load")),
    ),
    Declared(
        "wardrop_link_utilization_ratio", "gauge", "Load of a link by its capacity", "1", _LINK, _links("utilization")
    ),
    Declared("wardrop_link_price_seconds", "gauge", "Marginal cost of a link", "s a bit/bit", _LINK, _links("price")),
    Declared("wardrop_link_delay_seconds", "gauge", "Delay of a link by the model", "s", _LINK, _links("delay")),
    Declared("wardrop_link_measurement_age_seconds", "gauge", "Age of a link's measurement", "s", _LINK, _links("age")),
    Declared(
        "wardrop_server_load_work_per_second",
        "gauge",
        "Load of a server, measured",
        "work/s",
        _SERVER,
        _servers("load"),
    ),
    Declared(
        "wardrop_server_utilization_ratio",
        "gauge",
        "Load of a server by its capacity",
        "1",
        _SERVER,
        _servers("utilization"),
    ),
    Declared("wardrop_server_price_seconds", "gauge", "Marginal cost of a server", "s", _SERVER, _servers("price")),
    Declared(
        "wardrop_server_delay_seconds", "gauge", "Delay of a server by the model", "s", _SERVER, _servers("delay")
    ),
    Declared(
        "wardrop_server_measurement_age_seconds",
        "gauge",
        "Age of a server's measurement",
        "s",
        _SERVER,
        _servers("age"),
    ),
    Declared("wardrop_link_up", "gauge", "1 while a link works, 0 while it does not", "1", _LINK, _links("up")),
    Declared("wardrop_server_up", "gauge", "1 while a server works, 0 while it does not", "1", _SERVER, _servers("up")),
    Declared(
        "wardrop_session_served_ratio",
        "gauge",
        "Part of a session's offered rate that is let in",
        "1",
        _SESSION,
        _by_name("served"),
    ),
    Declared(
        "wardrop_session_heavy_slots",
        "gauge",
        "Slots whose flows are too heavy for a session's split to come out within a point",
        "1",
        _SESSION,
        _by_name("heavy"),
    ),
    Declared(
        "wardrop_session_stranded",
        "gauge",
        "1 while failures cut a session off, 0 while they do not",
        "1",
        _SESSION,
        _stranded,
    ),
    Declared(
        "wardrop_session_offered_bytes_per_second",
        "gauge",
        "What a session offers at its ingress",
        "byte/s",
        _SESSION,
        _bytes(_by_name("offered")),
    ),
    Declared(
        "wardrop_session_delivered_bytes_per_second",
        "gauge",
        "What of a session leaves the last switches",
        "byte/s",
        _SESSION,
        _bytes(_by_name("delivered")),
    ),
    Declared(
        "wardrop_session_measurement_age_seconds",
        "gauge",
        "Age of a session's offered rate",
        "s",
        _SESSION,
        _by_name("session_ages"),
    ),
    Declared(
        "wardrop_split_decided_ratio", "gauge", "Decided weight of a session's route", "1", _SPLIT, _splits("decided")
    ),
    Declared(
        "wardrop_split_realised_ratio",
        "gauge",
        "Share of a session's packets on a route, a mean of some ticks",
        "1",
        _SPLIT,
        _splits("realised"),
    ),
    Declared(
        "wardrop_session_copies",
        "gauge",
        "Links that copies of a packet of a group cross, by the decided trees",
        "1",
        _SESSION,
        _copies,
    ),
    Declared(
        "wardrop_node_copies",
        "gauge",
        "Copies made at a node of a packet of a group, beyond those that come to it",
        "1",
        ("session", "node"),
        _made,
    ),
    Declared(
        "wardrop_session_lost_in_extraction_ratio",
        "gauge",
        "Share of what was decided for a group that no tree took",
        "1",
        _SESSION,
        _by_name("lost_in_extraction"),
    ),
    Declared(
        "wardrop_signalling_bytes_per_second",
        "gauge",
        "What agents say, where it enters the network, by who says it: servers, links, sources",
        "byte/s",
        ("kind",),
        _bytes(_by_name("signalling")),
    ),
    Declared(
        "wardrop_host_dropped_packets_total",
        "counter",
        "Packets dropped because their host may not send them: label, vlan, address",
        "1",
        ("host", "kind"),
        _dropped,
    ),
    Declared(
        "wardrop_host_remarked_packets_total",
        "counter",
        "Packets re-marked because their host has not bought their class",
        "1",
        ("host",),
        _by_name("remarked"),
    ),
    Declared(
        "wardrop_openflow_refused_total",
        "counter",
        "Connections ended (malformed, handshake, crowd) and messages dropped (unasked) of switches",
        "1",
        ("kind",),
        _refused,
    ),
    Declared(
        "wardrop_group_members",
        "gauge",
        "Destinations of a multicast session that are members now",
        "1",
        _SESSION,
        _members,
    ),
    Declared(
        "wardrop_group_reports_total",
        "counter",
        "Reports of groups that hosts sent, by message: v1, v2, leave, v3",
        "1",
        ("message",),
        _by_name("reports"),
    ),
    Declared(
        "wardrop_group_refused_total",
        "counter",
        "What of hosts' reports was refused: malformed, forged, rate, group, place",
        "1",
        ("kind",),
        _by_name("reports_refused"),
    ),
    Declared(
        "wardrop_class_load_ratio",
        "gauge",
        "Part of its time that a class takes of a link or server, by measured arrivals",
        "1",
        _CLASS,
        _classes("load"),
    ),
    Declared(
        "wardrop_class_wait_seconds",
        "gauge",
        "Wait of a class at a link or server that is announced, by measured arrivals",
        "s",
        _CLASS,
        _classes("wait"),
    ),
    Declared(
        "wardrop_class_premium",
        "gauge",
        "What a second of service costs more in a class than in the last",
        "currency/s",
        _CLASS,
        _classes("premium"),
    ),
    Declared(
        "wardrop_base_price",
        "gauge",
        "What a second of service costs in the last class of a link or server",
        "currency/s",
        ("machine",),
        _machines("base"),
    ),
    Declared(
        "wardrop_session_price",
        "gauge",
        "What one request of a session pays, the sum over the machines of its route for its class",
        "currency",
        _SESSION,
        _by_name("session_prices"),
    ),
    *PROGRAMS,
    Declared("wardrop_gap_ratio", "gauge", "Gap of the delay to its lower bound; no market's", "1", (), _value("gap")),
    Declared(
        "wardrop_kkt_residual_seconds",
        "gauge",
        "Most that a used route's marginal cost exceeds the cheapest one's",
        "s",
        (),
        _value("kkt_residual"),
    ),
    Declared(
        "wardrop_running_gap_ratio",
        "gauge",
        "Gap of the running network to the least mean delay, by its measured loads",
        "1",
        (),
        _value("running_gap"),
    ),
    Declared(
        "wardrop_running_residual_ratio",
        "gauge",
        "Part of what all traffic pays that it would save on the cheapest routes, by its measured loads",
        "1",
        (),
        _value("running_residual"),
    ),
    Declared(
        "wardrop_objective_seconds", "gauge", "Mean delay of the allocation by the model", "s", (), _value("objective")
    ),
    Declared("wardrop_optimum_seconds", "gauge", "Least mean delay by the model", "s", (), _value("optimum")),
    *(
        Declared(f"wardrop_market_{name}", "gauge", said, unit, labels, read)
        for name, said, unit, labels, read in (
            ("session_price", "Locational price of a session", "currency/token", _SESSION, _market("prices")),
            ("session_shed", "What of a session is not served", "token/s", _SESSION, _market("shed")),
            ("link_price", "Fee and congestion of a link", "currency/bit", _LINK, _quoted("links", "price")),
            ("link_rent", "Rent of a link", "currency/s", _LINK, _quoted("links", "rent")),
            ("server_price", "Cost and scarcity of a server", "currency/work", _SERVER, _quoted("servers", "price")),
            ("server_rent", "Rent of a server", "currency/s", _SERVER, _quoted("servers", "rent")),
            ("gap_ratio", "Gap of the cleared market's cost to its lower bound", "1", _MONEY, partial(_cleared, "gap")),
            ("age_rounds", "Rounds since that market was cleared", "1", _MONEY, partial(_cleared, "age")),
        )
    ),
    Declared("wardrop_policy_info", "gauge", "1 for the policy in force", "1", ("policy",), _policy),
    Declared("wardrop_tick_duration_seconds", "histogram", "Duration of a tick", "s", ()),
    Declared("wardrop_ticks_total", "counter", "Ticks", "1", (), _total("ticks")),
    Declared("wardrop_ticks_failed_total", "counter", "Ticks that kept the rules before", "1", (), _total("failed")),
    Declared("wardrop_rules_changed_total", "counter", "Rules added, modified or deleted", "1", (), _total("rules")),
    Declared("wardrop_errors_total", "counter", "Errors by kind", "1", ("kind",), _errors),
)


class Exporter(Collector):
    """The metrics of the last record line; the ticks put it here, scrapes read it."""

    def __init__(
        self,
        network: Network,
        refused: Mapping[str, int] | None = None,
        told: Callable[[], Iterable[Told]] = tuple,
    ) -> None:
        self.network = network
        self.told = told
        self.refused = {} if refused is None else refused
        self.line: Line = {}
        self.totals = Totals()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """One family for each declared metric."""
        seen = Snapshot(self.network, self.line, self.totals, self.refused, tuple(self.told()))
        for metric in METRICS:
            if metric.read is None:
                yield self._histogram(metric)
                continue
            make = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels, unit=metric.suffix)
            for labels, value in metric.read(seen):
                if value is not None:
                    family.add_metric(labels, value)
            yield family

    def _histogram(self, metric: Declared) -> Metric:
        bounds = [*map(str, TICK_BUCKETS), "+Inf"]
        reached = [sum(self.totals.tick_s[: place + 1]) for place in range(len(bounds))]
        family = HistogramMetricFamily(metric.name, metric.help, unit=metric.suffix)
        family.add_metric([], list(zip(bounds, reached, strict=True)), self.totals.tick_sum)
        return family

    def scrape(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text of the answer to a scrape; OpenMetrics, which has units, for who accepts it."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


def table() -> str:
    """The metrics as rows of Markdown, for the README."""
    rows = ["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(metric.labels) or "-"
        rows.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"
