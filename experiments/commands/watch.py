"""`watch`: the facts of a run elsewhere, in this terminal. It needs no root, and works over ssh."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.commands.cli import FOUND, app, console

ADDRESS = "127.0.0.1:9465"


@app.command(rich_help_panel=FOUND)
def watch(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="HOST:PORT of a run's page, or its address.")
    ] = ADDRESS,
) -> None:
    """Attach to a run that is up, and show what it does, until it ends or Ctrl-C."""
    from experiments.observing.client import Client
    from experiments.running.live import LiveView

    client = Client(address)
    network, title = client.network()
    screen = console()
    try:
        with LiveView(network, title, screen) as view:
            for tick in client.ticks():
                view.update(tick, tick["phase"], tick["elapsed"], tick["total"])
    except KeyboardInterrupt:
        return
    screen.print("the run has ended", highlight=False)
