"""What this machine's links can be trusted with: waits on real packets against theory, and what links need for that."""
