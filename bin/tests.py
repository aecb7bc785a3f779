"""Every test, in two processes side by side: those on packets wait more than they compute.

The output of the tests on packets is shown when they have ended, after that of the others. Arguments go to one pytest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO


def pytest(arguments: Sequence[str], output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """A pytest that runs."""
    return subprocess.Popen([sys.executable, "-m", "pytest", *arguments], stdout=output, stderr=output)


def main(arguments: Sequence[str]) -> int:
    """Run them; 0 when all pass."""
    if arguments:
        return pytest(arguments).wait()
    with tempfile.TemporaryFile() as output:
        halves = [pytest(["-m", "emulated and not long"], output), pytest(["-m", "not emulated and not long"])]
        try:
            codes = [half.wait() for half in reversed(halves)]
        except KeyboardInterrupt:  # they have heard it too, and take down what they have up
            codes = [half.wait() for half in halves]
        sys.stdout.flush()
        output.seek(0)
        sys.stdout.buffer.write(output.read())
    return next(filter(None, codes), 0)  # one that a signal has ended is below 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
