"""What markets, classes and groups add to the view in a terminal: prices of locations, waits, where copies are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pricing.network import Network

TOKENS = 1e6
"""Tokens that a price is told for: one costs next to nothing."""


class Terms(NamedTuple):
    """A table: its columns, of which all but those of `words` hold numbers, and its rows, the most telling first."""

    columns: tuple[str, ...]
    words: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def terms(network: Network, record: Mapping[str, Any]) -> list[Terms]:
    """The tables of a tick; none where there is neither a market, nor a class, nor a group.

    Parameters
    ----------
    network : Network
        What the record is of.
    record : mapping
        A record line (docs/design/architecture.md).
    """
    return [table for table in (*_market(record), *_classes(record), *_groups(network, record)) if table.rows]


def _market(record: Mapping[str, Any]) -> Iterator[Terms]:
    """Locations by their price, the dearest first, and what of their demand is not served."""
    market = record.get("market")
    if not market:
        return
    prices = {name: price for name, price in market["prices"].items() if price is not None}
    rows = [
        (name, f"{prices[name] * TOKENS:.3g}", f"{market['shed'].get(name) or 0:.0f}")
        for name in sorted(prices, key=lambda name: (-prices[name], name))
    ]
    yield Terms(("location", f"{market['currency']}/Mtoken", "shed/s"), ("location",), rows)


def _classes(record: Mapping[str, Any]) -> Iterator[Terms]:
    """Waits of the classes at each machine that has load, the busiest first."""
    classes = record.get("classes")
    if not classes:
        return
    loads = {name: sum(load) for name, load in zip(classes["machines"], classes["load"], strict=True)}
    waits = dict(zip(classes["machines"], classes["wait"], strict=True))
    rows = [
        (name.replace("->", "→"), *("?" if wait is None else f"{wait * 1e3:.3g}" for wait in waits[name]))
        for name in sorted(loads, key=lambda name: -loads[name])
        if loads[name] > 0
    ]
    heads = (f"class {number}" for number in range(1, len(rows[0]) if rows else 1))
    yield Terms(("waits, ms", *heads), ("waits, ms",), rows)


def _groups(network: Network, record: Mapping[str, Any]) -> Iterator[Terms]:
    """The nodes that make copies of a group's packets, and how many beyond those that come: the most first."""
    found = [
        (count, session.name, node)
        for session in network.sessions
        for node, count in ((record.get("copies") or {}).get(session.name) or {"made": {}})["made"].items()
        if count > 0
    ]
    rows = [(name, node, f"{count:.2f}") for count, name, node in sorted(found, key=lambda row: (-row[0], *row[1:]))]
    yield Terms(("group", "copies made at", "a packet"), ("group", "copies made at"), rows)
