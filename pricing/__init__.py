"""The mathematics: networks, delay laws, prices, allocations, certificates. No sockets, clocks, OpenFlow or Mininet."""
