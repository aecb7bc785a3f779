"""Effects: OpenFlow, threads, time and HTTP; the controller is a process of its own, `python -m controller`."""
