"""`python -m experiments`: the command line.

A module that adds commands to `experiments.cli.app` is imported here.
"""

import experiments.bench
import experiments.paper
import experiments.run
import experiments.studies  # noqa: F401  each adds its commands
from experiments.cli import main

if __name__ == "__main__":
    main()
