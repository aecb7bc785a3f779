"""Observing a run while it goes on: its feed of ticks, the HTTP API, the live page, and the terminal."""
