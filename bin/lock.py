"""Write requirements.lock and requirements-test.lock anew from pyproject.toml.

Run it with the oldest Python that pyproject.toml accepts, since the newest releases leave old Pythons first, then try
the set-up on the newest. A line is a name, a version and the marker that pyproject.toml gives the name; never an
address: where packages come from is for pip's own settings to say.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
HEAD = "# {what}, made by bin/lock.py from pyproject.toml\n"


def canonical(requirement: str) -> str:
    """The name in a requirement, as package indexes compare names."""
    name = re.match(r"[\w.-]+", requirement)
    if name is None:
        raise SystemExit(f"pyproject.toml: {requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def main() -> None:
    """Install what pyproject.toml declares into a passing environment, and write down what came."""
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    markers = {canonical(line): line.partition(";")[2] for line in project["dependencies"] if ";" in line}
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        pip = [f"{scratch}/bin/python", "-m", "pip"]

        def install(requirements: list[str]) -> list[str]:
            wanted = [line.partition(";")[0] for line in requirements]
            subprocess.run([*pip, "install", "--no-build-isolation", *wanted], check=True, stdout=sys.stderr)
            frozen = subprocess.run([*pip, "freeze", "--all", "--exclude", "pip"], check=True, capture_output=True)
            return sorted(frozen.stdout.decode().splitlines(), key=str.lower)

        install(extras["build"])
        run = install(project["dependencies"] + extras["ryu"])
        test = [line for line in install(extras["test"]) if line not in run]
    for name, what, lines in (("requirements", "What runs", run), ("requirements-test", "What tests add", test)):
        marked = [f"{line};{markers[canonical(line)]}" if canonical(line) in markers else line for line in lines]
        (HOME / f"{name}.lock").write_text(HEAD.format(what=what) + "\n".join(marked) + "\n")


if __name__ == "__main__":
    main()
