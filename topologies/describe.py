"""`python -m topologies.describe SCENARIO [--load RHO] [--netem]`: a scenario and its plant, as JSON on stdout.

For those who cannot import the model: `{"scenario": …, "load": …, "network": …, "plant": …}`, the network as its links
will carry it out, and all that `plan` numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace

from pricing.errors import WardropError
from topologies.links import as_emulated
from topologies.plant import plan
from topologies.scenario import load


def main() -> None:
    """Print the description, or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m topologies.describe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario")
    parser.add_argument("--load", type=float)
    parser.add_argument("--netem", action="store_true")
    asked = parser.parse_args()
    try:
        network = as_emulated(load(asked.scenario, asked.load).network, asked.netem)
    except WardropError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    plant = replace(plan(network), netem=asked.netem)
    found = {"scenario": asked.scenario, "load": asked.load, "network": asdict(network), "plant": asdict(plant)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
