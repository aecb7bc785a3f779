"""Where results go: looked at before anything is run, and under sudo the user's own afterwards.

A run takes minutes; that its file cannot be written must not be found at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pricing.errors import WardropError


def file_to_write(path: Path | None, option: str = "--json") -> Path | None:
    """The file, which can be written; one that was not there is not there afterwards.

    Raises
    ------
    WardropError
        When it cannot be written.
    """
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
        return path  # a pipe or a device, which opening may disturb
    new = not path.exists()
    try:
        with path.open("a"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise WardropError(f"{option} {path}: {error.strerror}; a file that can be written is accepted") from error
    return path


def folder_to_write(path: Path | None, option: str) -> Path | None:
    """The folder, which is there and can be written.

    Raises
    ------
    WardropError
        When it cannot be made, or written.
    """
    if path is None:
        return None
    wanted = "a folder that can be made and written is accepted"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WardropError(f"{option} {path}: {error.strerror}; {wanted}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise WardropError(f"{option} {path}: it cannot be written; {wanted}")
    give_back(path)
    return path


def for_results(path: Path | None) -> Path | None:
    """The folder of `--out`, as `folder_to_write` has it."""
    return folder_to_write(path, "--out")


@contextmanager
def given_back(folder: Path | None, pattern: str = "**/*.pcap") -> Iterator[None]:
    """Files below `folder`, captures by default, belong to the user who called, however the block ends."""
    try:
        yield
    finally:
        if folder is not None:
            give_back(*folder.glob(pattern))


def give_back(*paths: Path) -> None:
    """Under sudo, files written and folders made for them, in a folder of theirs, belong to the user who called."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if user is None or group is None or os.geteuid() != 0:
        return
    here = Path.cwd()
    folders = {parent for path in paths for parent in path.absolute().parents}
    theirs = here.stat().st_uid == int(user)
    made = {folder for folder in folders if theirs and folder != here and folder.is_relative_to(here)}
    for path in (*made, *paths):
        if path.stat().st_uid == 0 and (path.is_file() or path.is_dir()):
            os.chown(path, int(user), int(group))
