"""The door for Mininet's own command: `sudo mn --custom topologies/plugin.py --topo abilene --controller priced`.

`mn` executes this file, with no `__file__`, and takes what it finds: the dicts below extend its own of these names, and
every other name replaces its own. That is how `CLI` becomes its prompt, and how `LINKS` gets in: `mn` would read a dict
`links`, were a comma not missing in it. `topologies.mn` has what stands behind the names.

It runs on the Python that `mn` runs on, which need have nothing installed but Mininet; what needs more runs on the
virtual environment's Python as a process of its own.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent.parent))
sys.dont_write_bytecode = True  # root would leave it in somebody else's files

from topologies.mn import topo  # noqa: E402
from topologies.mn.control import Priced  # noqa: E402
from topologies.mn.nodes import PricedHost, PricedSwitch, QueueLink  # noqa: E402
from topologies.mn.pricing import pricing  # noqa: E402
from topologies.mn.prompt import PricedCLI  # noqa: E402

CLI = PricedCLI
topos = topo.TOPOS
controllers = {"priced": Priced}
switches = {"default": PricedSwitch, "ovs": PricedSwitch, "ovsk": PricedSwitch}
hosts = {"proc": PricedHost}
tests = {"pricing": pricing}
LINKS = {**getattr(sys.modules["__main__"], "LINKS", {}), "default": QueueLink, "queue": QueueLink}
