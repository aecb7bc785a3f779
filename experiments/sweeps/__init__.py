"""Sweeps: policies over a range of loads, and what that costs: delay, loss, price of anarchy."""
