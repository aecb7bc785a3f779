"""Policies of your own: a function in a file of yours, named `FILE.py:FUNCTION` where a command wants a policy.

Only what a person names on a command line is looked up here, for to name a file is to run it. What comes as data (a
recording, a request to a run) names a policy by `pricing.policy.get_policy`, which knows what was loaded before and
reads no file.

A function of yours is held to what the house's own policies are: every error in it, and every decision that could not
be carried out, becomes a message that says where, and the network keeps the rules that it has.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pricing.errors import WardropError
from pricing.network import Network
from pricing.policy import POLICIES, Decide, Policy, get_policy
from pricing.problem import problem_of
from pricing.values import Decision, Loads

SUM_TOLERANCE = 1e-6
"""How far from 1 a session's weights may add up."""


def is_own(text: str) -> bool:
    """Whether a policy is named as `FILE.py:FUNCTION`."""
    return ".py:" in text


def named(text: str) -> Policy:
    """The policy that a person names: one of `POLICIES`, or `FILE.py:FUNCTION`, which is one of them from then on.

    Raises
    ------
    WardropError
        When there is none of that name, the file does not run, or it has no such function of three arguments.
    """
    if not is_own(text) or text in POLICIES:
        return get_policy(text)
    file, _, name = text.rpartition(":")
    function = getattr(_module(Path(file), text), name, None)
    if not inspect.isfunction(function):
        raise WardropError(f"{text}: {file} has no function {name!r}")
    parameters = [*inspect.signature(function).parameters]
    if len(parameters) != 3:
        said = f"{name}({', '.join(parameters)})"
        raise WardropError(f"{text}: found {said}; {name}(network, loads, state) -> Decision is accepted")
    summary = (inspect.getdoc(function) or "a policy of your own").splitlines()[0]
    POLICIES[text] = Policy(text, summary, _checked(text, function))
    return POLICIES[text]


def loaded() -> list[str]:
    """Those that were named in this process."""
    return [name for name in POLICIES if is_own(name)]


def code(text: str) -> str:
    """A digest of the file of a policy of your own, that says whether it changed; empty for the others."""
    return hashlib.sha256(Path(text.rpartition(":")[0]).read_bytes()).hexdigest() if is_own(text) else ""


def _module(file: Path, text: str) -> ModuleType:
    """The file as a module, run once."""
    spec = importlib.util.spec_from_file_location(f"policy_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses of the file look for their annotations
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise WardropError(f"{text}: {error.strerror}; FILE.py:FUNCTION with a file of yours is accepted") from error
    except Exception as error:
        raise WardropError(f"{text}: {_said(error, file)}") from error
    return module


def _checked(text: str, function: Decide) -> Decide:
    """The function, with its errors as messages and its decisions looked at."""
    file = Path(text.rpartition(":")[0])

    def decide(network: Network, loads: Loads, state: Any) -> Decision:
        try:
            decision = function(network, loads, state)
        except WardropError:
            raise
        except Exception as error:
            raise WardropError(f"{text}: {_said(error, file)}") from error
        problems = list(_problems(network, decision))
        if problems:
            raise WardropError("\n".join(f"{text}: {problem}" for problem in problems))
        return decision

    return decide


def _problems(network: Network, decision: object) -> Iterator[str]:
    """Why a decision could not be carried out."""
    if not isinstance(decision, Decision):
        yield f"returned {type(decision).__name__}; a pricing.values.Decision is accepted"
        return
    splits, problem = decision.allocation.splits, problem_of(network)
    for name in sorted(splits.keys() ^ {session.name for session in network.sessions}):
        yield f"session {name}: {'unknown' if name in splits else 'has no routes'}; each session has some"
    for name, split in sorted(splits.items()):
        weights = [weight for _, weight in split]
        if not all(weight > 0 for weight in weights) or abs(math.fsum(weights) - 1) > SUM_TOLERANCE:
            yield f"session {name}: weights {weights}; above 0 and 1 in all is accepted (`make_allocation` sees to it)"
        for route, _ in split:
            try:
                problem.usage(route)
            except KeyError as error:
                yield f"session {name}: route {route}: {error} is not in the network"


def _said(error: Exception, file: Path) -> str:
    """What went wrong, and in which line of the file."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file.name
    ]
    where = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (lines or [None])[-1]
    return f"{f'line {where}: ' if where else ''}{type(error).__name__}: {error}"
