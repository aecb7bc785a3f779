"""A network as text: `network.json`, a `Network` with its fields by name, for the processes of a run and its agents."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pricing.errors import TopologyError
from pricing.network import ArrivalLaw, Function, Link, Network, Node, Server, Session, SizeLaw


def network_to_json(network: Network) -> str:
    """The text of `network.json`: equal networks give equal bytes."""
    return json.dumps(asdict(network), indent=1, sort_keys=True) + "\n"


def network_from_json(text: str) -> Network:
    """The network that `network_to_json` wrote.

    Raises
    ------
    TopologyError
        When the text is not a network, or its parts do not fit.
    """

    def session(value: dict[str, Any]) -> Session:
        destinations = tuple(value.pop("destinations"))
        points = tuple((size, weight) for size, weight in value["size"].get("points", ()))
        laws: dict[str, Any] = {"size": SizeLaw(**{**value["size"], "points": points})}
        if arrivals := value.get("arrivals"):
            profile = tuple((seconds, factor) for seconds, factor in arrivals["profile"])
            laws["arrivals"] = ArrivalLaw(**{**arrivals, "profile": profile})
        functions = value.pop("chain", ())
        chain = tuple(Function(**{**one, "servers": tuple(one["servers"])}) for one in functions)
        return Session(**{**value, **laws}, destinations=destinations, chain=chain)

    try:
        data = json.loads(text)
        return Network(
            data["name"],
            tuple(Node(**value) for value in data["nodes"]),
            tuple(Link(**value) for value in data["links"]),
            tuple(Server(**value) for value in data["servers"]),
            tuple(session(value) for value in data["sessions"]),
            currency=data.get("currency", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TopologyError(
            f"not a network: {type(error).__name__} {error}; the fields of pricing.network.Network are accepted"
        ) from error
