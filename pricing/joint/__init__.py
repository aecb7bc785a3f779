"""The joint network-and-server paper: the optimum, the distributed iteration, and certificates for both."""
