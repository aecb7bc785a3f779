"""Placeholder."""

from typing import Any
from pricing.joint.optimum import decide_optimum
from pricing.network import Network
from pricing.values import Decision, Loads


def step(network: Network, loads: Loads, state: Any) -> Decision:
    return decide_optimum(network, loads, state)
