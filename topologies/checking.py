"""The form of a scenario file, checked part by part: every problem becomes a sentence, and checking goes on.

What is wrong is replaced by its stand-in, or left out where it has none, so that `topologies.assembly` can look for
what the parts do not agree on in the same file, without complaining of a replacement.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pricing.errors import ScenarioError
from topologies import schema, units

NAMED = ("nodes", "servers", "services", "functions", "sessions", "users", "background")
"""Keys that hold a mapping of names to parts."""

LISTED = ("cables", "links")
"""Keys that hold a list of parts."""

T = TypeVar("T", bound=schema.Part)


@dataclass(frozen=True)
class Form(Generic[T]):
    """The form of a kind of file: its root, the forms under its keys, and which keys hold mappings and lists of parts.

    `reach` names the parts whose absence leaves open what can be reached.
    """

    root: type[T]
    parts: Mapping[str, type[schema.Part]]
    named: tuple[str, ...] = NAMED
    listed: tuple[str, ...] = LISTED
    reach: tuple[str, ...] = ("nodes", "cables", "links", "servers", "services", "functions")


SCENARIO = Form(schema.ScenarioPart, schema.PARTS)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'abilene'?` where a known name is near, else nothing."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


BOOL = "tag:yaml.org,2002:bool"


class Loader(yaml.SafeLoader):
    """YAML without code that notes each key used twice in a mapping.

    Truth is `true` and `false` alone, as YAML 1.2 has it: `on` and `off` are times of arrivals, `NO` a node in Norway.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, line) != line:
                self.problems.append(
                    f"{key.value}: found a second time in line {line}, first in line {seen[key.value]}; "
                    "accepted: each key once"
                )
        return super().construct_mapping(node, deep=deep)


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in rules if tag != BOOL]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(BOOL, re.compile("(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class Mended(Generic[T]):
    """A form that is valid because what was wrong in it was replaced or left out.

    `known` holds the names that the file gives to its parts, those left out included, by the keys at which there is
    no mistake as a whole; `at` the place in the file of
    each cable and link; `complete` says that nothing was left out on which the reach of a session can depend.
    """

    form: T
    known: Mapping[str, Collection[str]]
    at: Mapping[str, Sequence[int]]
    complete: bool


def content(path: Path, what: str) -> str:
    """The text of a file of a kind, such as 'scenario'.

    Raises
    ------
    ScenarioError
        When it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; accepted: the path of a {what} file"
        raise ScenarioError(str(path), [problem]) from error
    except UnicodeDecodeError as error:
        problem = f"is not text: {error.reason} at byte {error.start}; accepted: UTF-8"
        raise ScenarioError(str(path), [problem]) from error


def read(text: str, path: Path, what: str, form: Form[T]) -> tuple[Mended[T] | None, list[str]]:
    """The form that a YAML text has, mended where it is wrong, and its problems.

    Raises
    ------
    ScenarioError
        When the text is no mapping at all; `path` names it in the message.
    """
    loader = Loader(text)
    try:
        data = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ScenarioError(str(path), [f"is not YAML: {' '.join(str(error).split())}"]) from error
    except RecursionError:
        raise ScenarioError(str(path), [f"is nested too deeply to be a {what}"]) from None
    if not isinstance(data, dict):
        accepted = f"accepted: a mapping of {', '.join(schema.keys(form.root))}"
        raise ScenarioError(str(path), [f"found {units.shown(data)}; {accepted}"])
    mended, problems = validated(data, form)
    return mended, loader.problems + problems


def validated(data: dict[Any, Any], form: Form[T]) -> tuple[Mended[T] | None, list[str]]:
    """The form as far as it can be had, and every problem of its parts."""
    absent: dict[str, Any] = {"servers": {}, "services": {}, "functions": {}, "users": {}}
    known = {
        key: list(map(str, part)) for key in form.named if isinstance(part := data.get(key, absent.get(key)), dict)
    }
    at = {key: list(range(len(data[key]))) if isinstance(data.get(key), list) else [] for key in form.listed}
    problems: list[str] = []
    complete = True
    data = deepcopy(data)
    for attempt in range(3):
        try:
            return Mended(form.root.model_validate(data), known, at, complete), problems
        except ValidationError as error:
            errors = error.errors()
        if attempt == 0:
            problems = _sentences(errors, form)
        left_out = {path for detail in errors if (path := _mend(data, detail["loc"], attempt > 0, form))}
        replaced = {detail["loc"] for detail in errors} & {(section,) for section in (*form.named, *form.listed)}
        complete = complete and not replaced and not any(section in form.reach for section, _ in left_out)
        for section, index in sorted(left_out, key=lambda path: (path[0], str(path[1]).zfill(9)), reverse=True):
            del data[section][index]
            if section in form.listed:
                del at[section][index]
    return None, problems


def _mend(data: dict[Any, Any], loc: tuple[Any, ...], again: bool, form: Form[T]) -> tuple[str, Any] | None:
    """Replace what is wrong at `loc` by its stand-in, or by nothing; say which part has to be left out instead."""
    section, *rest = loc
    if section in (*form.named, *form.listed) and rest and rest[1:] != ["[key]"]:
        index, *inner = rest
        if inner and isinstance(data[section][index], dict) and not again:
            _replace(data[section][index], inner[0], form.parts[section].stand_in)
            return None
        if section == "nodes":
            data[section][index] = {}
            return None
        if isinstance(data[section][index], dict) and not again:
            # its keys do not go together: those that it must have may still be right
            required = {
                field.alias or name for name, field in form.parts[section].model_fields.items() if field.is_required()
            }
            data[section][index] = {key: value for key, value in data[section][index].items() if key in required}
            return None
    if section in (*form.named, *form.listed) and rest:
        return section, rest[0]
    if rest and isinstance(data[section], dict):
        _replace(data[section], rest[0], {})
    else:
        _replace(data, section, form.root.stand_in)
    return None


def _replace(part: dict[Any, Any], key: Any, stand_in: Mapping[str, Any]) -> None:
    if key in stand_in:
        part[key] = stand_in[key]
    else:
        part.pop(key, None)


def _sentences(errors: Sequence[ErrorDetails], form: Form[T]) -> list[str]:
    """A sentence for each error; a misspelled key is not reported a second time as missing."""
    meant = {
        (*error["loc"][:-1], nearest(str(error["loc"][-1]), schema.keys(_accepted(error["loc"], form)[0])))
        for error in errors
        if error["type"] == "extra_forbidden"
    }
    return [_sentence(error, form) for error in errors if not (error["type"] == "missing" and error["loc"] in meant)]


def _sentence(error: ErrorDetails, form: Form[T]) -> str:
    loc = error["loc"]
    part, accepted = _accepted(loc, form)
    where = _path(loc)
    if error["type"] == "missing":
        return f"{where}: missing; accepted: {accepted}"
    if error["type"] == "extra_forbidden":
        accepted = ", ".join(schema.keys(part))
        return f"{where}: unknown key{did_you_mean(str(loc[-1]), schema.keys(part))}; accepted: {accepted}"
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    return f"{where}: found {units.shown(error['input'])}; accepted: {accepted}"


def _accepted(loc: tuple[int | str, ...], form: Form[T]) -> tuple[type[schema.Part], str]:
    """The form that the last key of `loc` belongs to, and what is accepted there."""
    part: type[schema.Part] = form.root
    section, *rest = loc
    if not rest:
        return part, schema.keys(part).get(str(section), "")
    part = form.parts[str(section)]
    if section in (*form.named, *form.listed):
        rest = rest[1:]
    if rest == ["[key]"]:
        return part, f"{schema.NAME_ACCEPTED}, in quotes where YAML reads it as something else"
    if rest[:1] in (["size"], ["arrivals"], ["value"]) and len(rest) > 1:
        part, rest = schema.PARTS[str(rest[0])], rest[1:]
    described = schema.keys(part).get(str(rest[0])) if rest else None
    return part, described or f"a mapping of {', '.join(schema.keys(part))}"


def _path(loc: Iterable[int | str]) -> str:
    """`cables[3].ends` for ('cables', 3, 'ends')."""
    section, *rest = loc
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in rest] if "[key]" not in rest else []
    return str(section) + "".join(steps)


def listed(known: Collection[str]) -> str:
    """The first of some names, for a message."""
    first = sorted(known)[:12]
    return ", ".join(first) + (f" and {len(known) - 12} more" if len(known) > 12 else "") or "of which there are none"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest to a misspelled one, whatever the case; empty when none is near."""
    lower = {candidate.lower(): candidate for candidate in sorted(known, reverse=True)}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else ""


def money_problems(currency: str | None, prices: Iterable[tuple[str, tuple[float, str] | None]]) -> list[str]:
    """A sentence for each price, named by where it is, that is not in the currency of its file."""
    accepted = (
        f"{currency}, the currency of this file; convert it, or state the other currency for all"
        if currency
        else "prices where the file says 'currency', three capitals, such as USD"
    )
    return [
        f"{where}: found {price[1]}; accepted: {accepted}"
        for where, price in prices
        if price is not None and price[1] != currency
    ]
