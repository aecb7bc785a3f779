"""Scenarios as data: one YAML file says what exists and who wants what.

The form of the file is in `topologies.schema`; the files that come with Wardrop are in `topologies/library/`. A file is
checked once, here, and every problem in it is reported at once. Three checks follow each other: the YAML (a key used
twice), the form of each part, and what the parts must agree on. So that a problem found early does not hide later ones,
whatever is wrong is replaced by something harmless before the next check, and no check complains of a replacement.

Nodes, links, servers and sessions are sorted by name: the order in the file makes no difference to anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from pricing.errors import ScenarioError
from pricing.network import ArrivalLaw, Function, Link, Network, Session, SizeLaw
from pricing.priority.elastic import Group, User, expanded
from topologies import schema, units
from topologies.assembly import Assembly
from topologies.background import Background
from topologies.checking import SCENARIO, content, did_you_mean, read
from topologies.families import LIBRARY, filled, split, template, usual_names
from topologies.loading import scaled


@dataclass(frozen=True)
class Control:
    """How the controller runs: `tick`, s between two decisions, and hash `slots` a session."""

    tick: float = 1.0
    slots: int = 512


@dataclass(frozen=True)
class Scenario:
    """A scenario, checked.

    Parameters
    ----------
    name, title, provenance : str
        What it is called, what it is, and where its data comes from.
    network : Network
    control : Control
    path : Path
        The file it was read from.
    users : mapping of session name to User
        Sessions whose requests answer to prices, where the policy has any.
    classes : int
        Priority classes that users choose from.
    groups : tuple of Group
        The users in a network of their options; empty before `elastic` has made it.
    background : tuple of Background
        Traffic of no session, sorted by name.
    """

    name: str
    title: str
    provenance: str
    network: Network
    control: Control
    path: Path
    users: Mapping[str, User] = field(default_factory=dict)
    classes: int = 2
    groups: tuple[Group, ...] = ()
    background: tuple[Background, ...] = ()


def names() -> tuple[str, ...]:
    """Names of the scenarios that come with Wardrop, sorted; families with their usual number."""
    return tuple(sorted([*(path.stem for path in LIBRARY.glob("*.yaml")), *usual_names()]))


def load(name_or_path: str | Path, load: float | None = None) -> Scenario:
    """The scenario of that name in the library, or in that file.

    Parameters
    ----------
    name_or_path : str or Path
        What contains a slash or ends in `.yaml` or `.yml` is a file. A family's name takes a number: `star(7)`.
    load : float, optional
        Scale the servers alike, or the demand, so that the load is this (`topologies.loading`).

    Raises
    ------
    ScenarioError
        When there is no such scenario, or with every problem of the file.
    """
    text = str(name_or_path)
    path = Path(text)
    if isinstance(name_or_path, Path) or "/" in text or path.suffix in (".yaml", ".yml"):
        scenario = parse(content(path, "scenario"), path)
    elif family := split(text):
        scenario = parse(filled(*family), template(family[0]))
    elif text in names():
        path = LIBRARY / f"{text}.yaml"
        scenario = parse(content(path, "scenario"), path)
    elif path.is_file():
        found = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        accepted = "accepted: .yaml and .yml; what has another form comes in by `bin/wardrop import`"
        raise ScenarioError(text, [f"found {found}; {accepted}"])
    else:
        accepted = f"accepted: {', '.join(names())}, or the path of a file"
        raise ScenarioError(text, [f"unknown scenario{did_you_mean(text, names())}; {accepted}"])
    return scenario if load is None else replace(scenario, network=scaled(scenario.network, load))


def parse(text: str, path: Path) -> Scenario:
    """The scenario that a YAML text describes; `path` names it in messages.

    Raises
    ------
    ScenarioError
        With every problem of the text.
    """
    mended, problems = read(text, path, "scenario", SCENARIO)
    network = None
    background: tuple[Background, ...] = ()
    if mended is not None:
        assembly = Assembly(mended, path.parent)
        network = assembly.network()
        users = assembly.users(network) if network else {}
        background = assembly.background()
        problems += assembly.problems
    if problems or mended is None or network is None:
        raise ScenarioError(str(path), problems)
    form = mended.form
    control = Control(form.control.tick, form.control.slots)
    return Scenario(
        form.name, form.title, form.provenance, network, control, path, users, form.classes, background=background
    )


def elastic(scenario: Scenario) -> Scenario:
    """The scenario in which users choose: its sessions are their options, `SESSION.SERVER.CLASS`.

    Raises
    ------
    ScenarioError
        When nobody is a user, or a session beside them is none.
    """
    names, users = [session.name for session in scenario.network.sessions], scenario.users
    without = [name for name in names if name not in users]
    if without:
        accepted = "accepted: a value and a delay_cost for each session, under 'users'"
        raise ScenarioError(scenario.name, [f"users: found none for {', '.join(without)}; {accepted}"])
    network, groups = expanded(scenario.network, users, scenario.classes)
    return replace(scenario, network=network, groups=groups)


def json_schema() -> dict[str, Any]:
    """JSON schema of a scenario file, for editors."""
    return schema.ScenarioPart.model_json_schema(schema_generator=_SchemaWithoutDefaults)


def dump(scenario: Scenario) -> str:
    """The YAML text of a scenario, which reads back as an equal one: every value is written out, exactly."""
    return yaml.safe_dump(as_form(scenario), sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def as_form(scenario: Scenario) -> dict[str, Any]:
    """The scenario as a scenario file has it: mappings, lists, and quantities with their units."""
    network = scenario.network
    cables, links = [], []
    by_key = {link.key: link for link in network.links}
    for link in network.links:
        back = by_key.get((link.dst, link.src))
        if back is None or replace(back, src=link.src, dst=link.dst, capacity=link.capacity) != link:
            links.append({"from": link.src, "to": link.dst, **_wire(link, network.currency)})
        elif link.src < link.dst:
            other = {"capacity_back": units.show(back.capacity, "capacity")} if back.capacity != link.capacity else {}
            cables.append({"ends": [link.src, link.dst], **_wire(link, network.currency), **other})
    functions = {function.name: function for session in network.sessions for function in session.chain}
    services = {session.service: list(session.destinations) for session in network.sessions if session.service}
    return {
        "name": scenario.name,
        "title": scenario.title,
        "provenance": scenario.provenance,
        **_present(currency=network.currency or None),
        "nodes": {node.name: _present(latitude=node.latitude, longitude=node.longitude) for node in network.nodes},
        "cables": cables,
        "links": links,
        "servers": {
            server.name: {
                "node": server.node,
                "capacity": units.show(server.capacity, "work"),
                "scv": server.scv,
                "queue": server.queue,
                **_present(cost=units.show_money(server.cost, network.currency, "upkeep")),
            }
            for server in network.servers
        },
        "services": {name: {"servers": servers} for name, servers in services.items()},
        **({"functions": {name: _function(each) for name, each in sorted(functions.items())}} if functions else {}),
        "sessions": {session.name: _session(session, network.currency) for session in network.sessions},
        **({"users": _users(scenario), "classes": scenario.classes} if scenario.users else {}),
        "background": {each.name: _background(each) for each in scenario.background},
        "control": {"tick": units.show(scenario.control.tick, "delay"), "slots": scenario.control.slots},
    }


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _wire(link: Link, currency: str) -> dict[str, Any]:
    return _present(
        capacity=units.show(link.capacity, "capacity"),
        delay=units.show(link.propagation, "delay") if link.propagation else None,
        queue=link.queue,
        delivers=link.delivers,
        jitter=units.show(link.jitter, "delay") if link.jitter else None,
        loss=link.loss or None,
        fee=units.show_money(link.fee, currency, "fee"),
    )


def _function(function: Function) -> dict[str, Any]:
    return {"servers": list(function.servers), "scaling": function.scaling, "work": function.work}


def _session(session: Session, currency: str) -> dict[str, Any]:
    return _present(
        source=session.source,
        service=session.service or None,
        destination=session.destinations[0] if session.kind == "unicast" else None,
        destinations=list(session.destinations) if session.kind == "multicast" else None,
        group=session.group or None,
        members="joined" if session.joined else None,
        chain=[function.name for function in session.chain] or None,
        rate=units.show(session.rate, "capacity"),
        size=_sizes(session.size) if session.arrivals.law != "replay" else None,
        flows=session.flows,
        response=units.show(session.response_bits / 8, "bytes") if session.response_bits else None,
        work=session.work,
        **{"class": session.klass if session.klass > 1 else None},
        arrivals=_arrivals(session.arrivals) or None,
        tokens=session.tokens if session.tokens != 1.0 else None,
        value=units.show_money(session.value, currency, "value"),
        limit=units.show(session.limit, "delay") if math.isfinite(session.limit) else None,
    )


def _background(each: Background) -> dict[str, Any]:
    if each.kind == "http":
        return {"kind": each.kind, "source": each.source, "service": each.destination, "pages": each.rate}
    return _present(
        kind=each.kind,
        source=each.source,
        destination=each.destination,
        rate=units.show(each.rate, "capacity") if each.rate else None,
        payload=units.show(each.payload, "bytes") if each.kind == "udp" else None,
        streams=each.streams,
    )


def _sizes(law: SizeLaw) -> dict[str, Any]:
    if law.law == "points":
        return {"law": law.law, "points": [[units.show(size, "bytes"), weight] for size, weight in law.points]}
    return {"law": law.law, **{key: units.show(getattr(law, key), "bytes") for key in ("mean", "low", "high")}}


def _users(scenario: Scenario) -> dict[str, Any]:
    bits = {session.name: session.frame_bits for session in scenario.network.sessions}
    return {
        name: {
            "value": dict(user.value),
            "delay_cost": user.delay_cost,
            "rate": units.show(user.rate * bits[name], "capacity"),
        }
        for name, user in scenario.users.items()
    }


def _arrivals(law: ArrivalLaw) -> dict[str, Any]:
    """What of a law is not as it is unless said."""
    if law == ArrivalLaw():
        return {}
    lengths = {"on": units.show(law.on, "delay"), "off": units.show(law.off, "delay")} if law.law == "on-off" else {}
    profile = {"profile": [list(step) for step in law.profile]} if law.profile else {}
    capture = {"capture": law.capture} if law.capture else {}
    return {"law": law.law, **lengths, **profile, **capture}


class _SchemaWithoutDefaults(GenerateJsonSchema):
    """Defaults are kept in units of their own, not as they are written; descriptions say what is accepted."""

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])
