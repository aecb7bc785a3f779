"""The joint paper's static instance, and every number that the paper prints about it.

Five sources, three service nodes. Rates and capacities are in MB/s (1 MB = 1024 KB), as in the paper; its M/M/1 delay
1/(mu - x) is then in seconds for jobs of 1 MB on average, which the paper does not say. F, the sum of rate times delay,
is by Little's law the mean number of such jobs in the system.

Source: T. Sarkar and B. Krishnamachari, Joint Network-and-Server Congestion in Multi-Source Traffic Allocation
(arXiv 2602.03246), Section VI, and the code and data that its authors published with it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pricing.joint.printed import Instance

Origin = Literal["printed", "recomputed", "ours"]
"""Where a number comes from."""

ORIGINS: dict[str, str] = {
    "printed": "stands in the paper, or was published with it",
    "recomputed": "computed here from printed numbers alone: nothing of ours is in it",
    "ours": "computed here, and rests on a choice of ours, because the paper does not say, or does not ask",
}

CLASSES = {1: (50.0, 2.0), 2: (30.0, 2.0), 3: (15.0, 2048.0), 4: (10.0, 1.0)}
"""Messages/s and mean KB of each class of messages."""

HOLDS = ((1, 2), (1,), (2, 3), (3, 4), (1, 4))
"""Classes that each source sends."""

SOURCES = ("P0", "P1", "P2", "P3", "P4")
NODES = ("SN1", "SN2", "SN3")

ACCESS = (
    (47.49080237694725, 54.6398788362281, 43.12037280884873),
    (41.16167224336399, 52.022300234864176, 40.41168988591605),
    (56.648852816008436, 43.63649934414201, 46.08484485919075),
    (48.638900372842315, 52.23705789444759, 45.84289297070436),
    (49.121399684340716, 43.993475643167194, 51.84829137724085),
)
"""mu_ij, MB/s."""

SERVERS = (160.75448519014384, 106.50515929852796, 196.56320330745592)
"""mu_j, MB/s."""

PRINTED: dict[str, tuple[str, ...]] = {
    "central iterations": ("33",),
    "central cost": ("2.0157474290",),
    "distributed iterations": ("38",),
    "distributed cost": ("2.0159479318",),
    "gap": ("0.0002005",),
    "relative gap": ("0.0000995",),
    "central utilization": ("0.158", "0.139", "0.103"),
    "distributed utilization": ("0.159", "0.139", "0.102"),
    "stochastic utilization": ("0.1571", "0.1403", "0.0984"),
}
"""Results as printed, digit by digit."""


def rates() -> list[float]:
    """lambda_i, MB/s: the sum of each source's classes.

    >>> rates()
    [0.15625, 0.09765625, 30.05859375, 30.009765625, 0.107421875]
    """
    return [sum(CLASSES[kind][0] * CLASSES[kind][1] for kind in kinds) / 1024 for kinds in HOLDS]


def instance(load: float | None = None) -> Instance:
    """The static instance; with `load`, the servers scaled so that all sources load their sum to this ratio."""
    offered, servers = np.array(rates()), np.array(SERVERS)
    if load is not None:
        servers = servers * offered.sum() / (load * servers.sum())
    return Instance(offered, np.array(ACCESS), servers)
