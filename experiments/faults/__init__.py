"""Faults on purpose, under load: what is done to a network that is up, what must be seen, and what was."""
