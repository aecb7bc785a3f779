"""A run on real packets: the network up, phases of traffic on it, machine and queues watched, all shown live."""
