"""Priority pricing: what classes wait, what they pay, how users answer, and what capacity is worth.

`waits` and `sizes` are a machine's queues, `values` what services are worth, `economy` machines, programs and services
together, `state` all that follows from given rates; `solve` finds optimum and equilibria, `tatonnement` how prices get
there, `regimes` compares with one price and with none, `capacity` says which machine to enlarge.
"""
