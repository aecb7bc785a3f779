"""The token-flow market: clearing by linear programs, locational prices, rents, settlement."""
