"""`python -m experiments`: the command line.

A module that adds commands to `experiments.cli.app` is imported here.
"""

from experiments.cli import main

if __name__ == "__main__":
    main()
