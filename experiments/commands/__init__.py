"""The command line: each module adds its commands to `experiments.commands.cli.app`."""
