"""What `mn` gets from the plugin: topologies, a controller, hosts, switches, a link, a test and a prompt.

It runs on the Python of `mn`, so nothing here, nor what it imports, needs more than Python's library and Mininet.
"""

from topologies.mn.control import Priced
from topologies.mn.nodes import PricedHost, PricedSwitch, QueueLink
from topologies.mn.topo import ScenarioTopo

__all__ = ["Priced", "PricedHost", "PricedSwitch", "QueueLink", "ScenarioTopo"]
