"""What exists: scenario files, and their emulation on real packets in a testbed of its own."""
