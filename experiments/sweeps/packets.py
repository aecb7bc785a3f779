"""A cell on real packets: the network is brought up, one phase is run as `validate` runs it, and all is taken down."""

from __future__ import annotations

from dataclasses import asdict, replace

from experiments.cells import Result
from experiments.result.assemble import Account
from experiments.running.campaign import Options, Progress, campaign, excluded_share, settling
from experiments.running.machine import BAD_SHARE
from experiments.running.phase import Setting
from experiments.sweeps.grid import Cell, figures, no_steady_state
from topologies.scenario import Scenario


def measured(cell: Cell, scenario: Scenario, options: Options, progress: Progress) -> Result:
    """What a cell comes to on packets, as `experiments.sweeps.grid.compute` has it.

    Parameters
    ----------
    scenario : Scenario
        Where the cell's network is from.

    Raises
    ------
    EmulationError
        When the machine cannot emulate, or another run measures.
    """
    without = no_steady_state(cell)
    if without is not None:
        return without
    here = replace(scenario, network=cell.network, control=cell.control)
    if options.pcap is not None:
        options = replace(options, pcap=options.pcap / f"{cell.policy.replace('/', '-')}-{cell.load:g}-{cell.seed}")
    with campaign(here, cell.policy, options, progress) as up:
        log = up.run(cell.policy, cell.seed, settling(Setting(cell.policy)), cell.duration)
        account = Account(up.network, up.emulation.plant, log)
    sessions = account.measured.sessions
    captures = {"captures": [asdict(capture) for capture in up.captures]} if up.captures else {}
    return captures | figures(
        account.measured.delay.mean.as_json(),
        sum(session.sent for session in sessions),
        sum(session.lost for session in sessions),
        account.model.mean_delay,
        excluded_share(log) <= BAD_SHARE,
        account.losses["unaccounted"],
    )
