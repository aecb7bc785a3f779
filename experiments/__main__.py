"""`python -m experiments`: the command line.

A module that adds commands to `experiments.commands.cli.app` is imported here.
"""

import experiments.commands.bench
import experiments.commands.calibrate
import experiments.commands.compare
import experiments.commands.faults
import experiments.commands.largest
import experiments.commands.market
import experiments.commands.paper
import experiments.commands.replay
import experiments.commands.run
import experiments.commands.scenarios
import experiments.commands.security
import experiments.commands.studies
import experiments.commands.sweep
import experiments.commands.watch  # noqa: F401  each adds its commands
from experiments.commands.cli import main

if __name__ == "__main__":
    main()
