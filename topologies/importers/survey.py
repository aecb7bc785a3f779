"""What a topology from elsewhere says, whatever its format: places, cables between them, and demands.

A **survey** is between a file and a scenario. Names are those of its origin; capacities and demands are in the origin's
own units, so that only their proportions count unless the origin says bit/s; what is not known is None.
`topologies.importers.fitting` makes a scenario of it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import networkx as nx

EARTH_KM = 6371.0
"""Mean radius of the earth."""

LONGEST_NAME = 15
"""Characters of a name in a scenario."""


@dataclass(frozen=True)
class Place:
    """A node, with its position in degrees where it is known."""

    name: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True)
class Cable:
    """A connection between two places.

    Parameters
    ----------
    src, dst : str
    both : bool
        Whether it leads back too.
    capacity : float, optional
        In the unit of its origin.
    length, delay : float, optional
        km, and s; the delay counts where both are known.
    """

    src: str
    dst: str
    both: bool = True
    capacity: float | None = None
    length: float | None = None
    delay: float | None = None


@dataclass(frozen=True)
class Demand:
    """How much goes from a place to another, in the unit of its origin."""

    source: str
    destination: str
    amount: float


@dataclass(frozen=True)
class Survey:
    """A topology as its origin describes it; `notes` says what was left out or changed on the way, a sentence each."""

    name: str
    title: str
    provenance: str
    places: tuple[Place, ...]
    cables: tuple[Cable, ...]
    demands: tuple[Demand, ...] = ()
    notes: tuple[str, ...] = ()


def distance(a: Place, b: Place) -> float | None:
    """Great-circle distance in km, where both positions are known.

    Examples
    --------
    >>> round(distance(Place("Berlin", 52.52, 13.40), Place("Hamburg", 53.55, 9.99)))
    255
    """
    if a.latitude is None or a.longitude is None or b.latitude is None or b.longitude is None:
        return None
    phi, psi = math.radians(a.latitude), math.radians(b.latitude)
    turn = math.radians(b.longitude - a.longitude)
    haversine = math.sin((psi - phi) / 2) ** 2 + math.cos(phi) * math.cos(psi) * math.sin(turn / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, haversine)))


def tidy(names: Iterable[str]) -> list[str]:
    """Names that a scenario accepts, each its own: letters, digits and hyphens, at most 15.

    Accents and blanks go, other characters become hyphens, and a number is added where two would be the same.

    Examples
    --------
    >>> tidy(["New York", "at1.at", "Köln", "7", "Köln"])
    ['NewYork', 'at1-at', 'Koln', 'n7', 'Koln-2']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r"\s+", "", plain)).strip("-")
        plain = plain if plain[:1].isalpha() else f"n{plain}"
        plain = plain[:LONGEST_NAME].rstrip("-")
        candidate, number = plain, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{plain[: LONGEST_NAME - 1 - len(str(number))].rstrip('-')}-{number}"
        taken.add(candidate.lower())
        found.append(candidate)
    return found


def tidied(survey: Survey) -> Survey:
    """The survey as one connected, simple network under names that a scenario accepts, with notes of what changed.

    Cables from a place to itself go, parallel ones become one with the capacities' sum and the shortest length, and of
    a network in parts the largest stays. Lengths that are missing are great-circle distances.
    """
    notes = list(survey.notes)
    cables, merged, loops = _simple(survey.cables)
    if loops:
        notes.append(f"{loops} cables from a place to itself were left out")
    if merged:
        notes.append(f"{merged} parallel cables were joined with their neighbours, capacities added")
    kept = _largest_part(survey.places, cables)
    lost = len(survey.places) - len(kept)
    if lost:
        notes.append(f"the network is in parts: the largest was kept, {lost} of {len(survey.places)} nodes left out")
    places = [place for place in survey.places if place.name in kept]
    named = dict(zip([p.name for p in places], tidy(place.name for place in places), strict=True))
    renamed = [f"{old!r} is {new}" for old, new in named.items() if old != new]
    if renamed:
        more = f" and {len(renamed) - 6} more" if len(renamed) > 6 else ""
        notes.append(f"names of scenarios: {', '.join(renamed[:6])}{more}")
    at = {place.name: place for place in places}
    return replace(
        survey,
        places=tuple(replace(place, name=named[place.name]) for place in places),
        cables=tuple(
            replace(
                cable,
                src=named[cable.src],
                dst=named[cable.dst],
                length=distance(at[cable.src], at[cable.dst]) if cable.length is None else cable.length,
            )
            for cable in cables
            if cable.src in kept
        ),
        demands=tuple(
            replace(demand, source=named[demand.source], destination=named[demand.destination])
            for demand in survey.demands
            if {demand.source, demand.destination} <= kept and demand.source != demand.destination and demand.amount > 0
        ),
        notes=tuple(notes),
    )


def _simple(cables: Sequence[Cable]) -> tuple[list[Cable], int, int]:
    """Cables without loops and parallels, how many were joined with others, and how many loops there were."""
    found: dict[tuple[str, str], Cable] = {}
    merged = loops = 0
    for cable in cables:
        if cable.src == cable.dst:
            loops += 1
            continue
        key = (cable.src, cable.dst)
        if cable.both and (cable.dst, cable.src) in found:
            key = (cable.dst, cable.src)
        if key not in found:
            found[key] = cable
            continue
        merged += 1
        other = found[key]
        capacity = None if None in (other.capacity, cable.capacity) else other.capacity + cable.capacity  # type: ignore[operator]
        found[key] = replace(
            other, capacity=capacity, length=_least(other.length, cable.length), delay=_least(other.delay, cable.delay)
        )
    return list(found.values()), merged, loops


def _least(a: float | None, b: float | None) -> float | None:
    return min((value for value in (a, b) if value is not None), default=None)


def _largest_part(places: Sequence[Place], cables: Sequence[Cable]) -> set[str]:
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(place.name for place in places)
    graph.add_edges_from((cable.src, cable.dst) for cable in cables)
    parts = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
    return set(parts[0]) if parts else set()
