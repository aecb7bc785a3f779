"""Multicast with duplication in the network: statuses, backpressure, max-weight, the stability region."""
