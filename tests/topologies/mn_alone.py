"""`mn` in namespaces of its own: its clean-up kills processes by name and removes files, on the whole machine.

It sees only its own processes, an empty /run and /tmp, the checkout and its environment, and a testbed's Open vSwitch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from topologies.testbed import Testbed

ROOT = Path(__file__).resolve().parents[2]

ENTER = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/ovs /mnt/checkout /mnt/environment
mount --bind "$OVS_RUNDIR" /mnt/ovs
mount --bind . /mnt/checkout
mount --bind "$VIRTUAL_ENV" /mnt/environment
mount -t tmpfs none /run
mount -t tmpfs none /tmp
export OVS_RUNDIR=/mnt/ovs VIRTUAL_ENV=/mnt/environment HOME=/tmp
cd /mnt/checkout
cat > /tmp/custom.py
exec "$@"
"""


def mn(testbed: Testbed, *options: str, custom: str = "", timeout: float = 90) -> str:
    """What `mn --custom topologies/plugin.py,CUSTOM OPTIONS` says; CUSTOM is the text of a second file."""
    isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", ENTER, "sh"]
    command = [*isolated, "mn", "--custom", "topologies/plugin.py,/tmp/custom.py", *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**testbed.environment, "VIRTUAL_ENV": sys.prefix},
        input=custom,
        timeout=timeout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout
