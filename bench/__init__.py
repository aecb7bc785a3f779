"""Benchmarks: every solver beside a named peer on the same instance, in one process a case and on one thread."""
