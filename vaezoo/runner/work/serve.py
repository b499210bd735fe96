"""The job of a child process that runs a cell, or the cells of a pack."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vaezoo.core import heartbeat
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.runner.machine.sharing import say_through
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.work.cell import run_pack


def serve(send: Any, tasks: Sequence[Mapping[str, Any]], device: str, threads: int) -> None:
    """Run the tasks, each into its record. send: gets the stages, epochs and heartbeats of the work."""
    torch.set_num_threads(threads)
    no_hidden_tf32()
    say_through(lambda line: send(say=line))
    heartbeat.listen(lambda: send(alive=True))
    run_pack([Task.from_json(task) for task in tasks], device)
