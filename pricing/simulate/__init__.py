"""Queues simulated: `packets` follows every packet from hop to hop, `priority` has classes, `loop` is compiled."""
