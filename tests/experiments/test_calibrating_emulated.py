"""The line of a calibration on real packets: each class goes through its own leaf, every packet is accounted for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from experiments.calibrating.bed import Stream, bed
from pricing.errors import EmulationError
from pricing.network import ArrivalLaw, SizeLaw
from topologies.links import shaping, tos
from topologies.testbed import require_machine


def _problem() -> str:
    try:
        require_machine()
    except EmulationError as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.emulated, pytest.mark.skipif(bool(_problem()), reason=_problem())]


def test_each_class_has_its_leaf() -> None:
    with bed() as line:
        line.shape(shaping(line.link, line.interface, False, 2))
        law = ArrivalLaw("deterministic")
        streams = [
            Stream("near", rate, SizeLaw("fixed", 200.0), law, tos(k, 2)) for k, rate in ((1, 100.0), (2, 250.0))
        ]
        traces = line.run(streams, 1.0)
        counted = line.emulation.testbed.run("tc", "-s", "class", "show", "dev", line.interface)
    assert [len(trace.sent) for trace in traces] == [100, 250]
    assert all(np.isfinite(trace.delay).all() and (trace.delay > 0).all() for trace in traces)
    leaves = dict(re.findall(r"class htb 1:(1\d) .*?\n Sent \d+ bytes (\d+) pkt", counted))
    assert leaves == {"11": "100", "12": "250"}
