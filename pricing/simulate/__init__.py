"""Queues simulated: `packets` follows every packet from hop to hop, `loop` is its compiled part."""
