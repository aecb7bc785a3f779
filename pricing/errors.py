"""Every error that Wardrop raises on purpose, in one tree.

    WardropError                 anything a person can mend; carries one message, never a traceback
    ├── ScenarioError            a scenario file, all of its problems at once
    │   └── InstanceError        a multicast instance, or what a policy cannot do with it
    ├── TopologyError            a network that is not one: names, routes, connectivity
    ├── MarketError              a market that is not one: names, numbers, reach, all at once
    ├── Infeasible               demand beyond capacity; names the cut or the servers, and by how much
    ├── NotConverged             an iteration that stopped early; carries iterations and gap
    ├── Imbalance                a simulation whose packets do not add up
    ├── MeasurementError         counters that say nothing usable
    ├── RuleError                a rule that no table declares
    ├── ProtocolError            a message that is no OpenFlow
    ├── InstallError             a switch that refused, with OpenFlow's own code
    ├── EmulationError           what the machine lacks, and the command that mends it
    └── Refused                  a change that a run which goes on does not take

A message says what was found, what is accepted, and what to do.
"""

from __future__ import annotations


class WardropError(Exception):
    """An error with a message made for people; `exit_code` is what the command line ends with."""

    exit_code = 1


class ScenarioError(WardropError):
    """A scenario file that cannot be used.

    `problems` lists every problem found, each as `key: found, what is accepted`.
    """

    exit_code = 2

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


class InstanceError(ScenarioError):
    """A multicast instance whose parts do not fit, or that a policy cannot carry; all problems at once."""


class TopologyError(WardropError):
    """A network whose parts do not fit: a name used twice, an unknown end, a missing route."""

    exit_code = 2


class MarketError(WardropError):
    """A market whose parts do not fit. `problems` lists every problem found."""

    exit_code = 2

    def __init__(self, market: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join([f"market {market}:", *(f"  {problem}" for problem in problems)]))


class Infeasible(WardropError):
    """Demand that no allocation can carry.

    `resources` names the cut's links or the servers that limit, `excess` is by how much the demand is over, in the
    unit of those resources.
    """

    def __init__(self, message: str, resources: tuple[str, ...] = (), excess: float = 0.0) -> None:
        self.resources = resources
        self.excess = excess
        super().__init__(message)


class NotConverged(WardropError):
    """An iteration that ended before its certificate held."""

    def __init__(self, message: str, iterations: int, gap: float) -> None:
        self.iterations = iterations
        self.gap = gap
        super().__init__(message)


class Imbalance(WardropError):
    """A simulation in which packets were lost, invented or delivered twice: no answer of it can be believed."""


class MeasurementError(WardropError):
    """Counters from which no load can be told."""


class RuleError(WardropError):
    """A rule that its table does not declare: a wrong match, a wrong action, a duplicate."""


class ProtocolError(WardropError):
    """A message that is no OpenFlow 1.3; its connection is closed."""


class InstallError(WardropError):
    """A switch that did not take a rule; the message names switch, rule and OpenFlow's code."""


class EmulationError(WardropError):
    """A machine that cannot emulate; the message names what is missing and the command that mends it."""


class Refused(WardropError):
    """A change asked of a run that does not take it; the message says which runs do."""
