"""The bias of EGDCNC, found by search: how much a hop should weigh beside a packet that waits.

Too small a bias lets packets wander, too large a one is blind for queues; the best depends on the load
(Section VII-C: 'found by grid search to optimize the combined effect on the total network delay').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pricing.multicast.instance import Instance
from pricing.multicast.simulate import Estimate, Policy, Run, Setting, estimate, simulate


class Found(NamedTuple):
    """The best value, and the mean delay of a copy (slots) at every value that was tried."""

    eta: float
    delays: dict[float, Estimate]


def best_eta(
    instances: Sequence[Instance],
    policy: Callable[[float], Policy],
    settings: Sequence[Setting],
    tried: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
) -> Found:
    """The bias with the least mean delay by Little's law, over runs with the same arrivals for every value.

    Parameters
    ----------
    instances : sequence of Instance
        Such as one network at several rates; the mean of their delays counts.
    policy : callable
        The policy with a given eta, such as `lambda eta: egdcnc(0.0, eta)`.
    settings : sequence of Setting
        One for each run; they differ in their seeds.
    tried : sequence of float
        The grid (ours). Of equal delays the smaller value is the best.

    Raises
    ------
    InstanceError
        As `pricing.multicast.simulate.simulate`.
    """

    def delay(runs: list[Run]) -> float:
        return sum(run.mean_delay for run in runs) / len(runs)

    delays = {
        eta: estimate(
            delay, [[simulate(instance, policy(eta), setting) for instance in instances] for setting in settings]
        )
        for eta in sorted(tried)
    }
    return Found(min(delays, key=lambda eta: delays[eta].mean), delays)
