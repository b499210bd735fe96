"""The job of a child process that runs a cell, or the cells of a pack."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from vaezoo.core import denormals, heartbeat
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.runner.machine.sharing import say_through
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.work.cell import provenance, run_pack
from vaezoo.training.checkpoint import CheckpointClock, Interrupted


def serve(
    send: Any, tasks: Sequence[Mapping[str, Any]], device: str, threads: int, log: str, checkpoint_seconds: float
) -> None:
    """Run the tasks, each into its record. send: gets the provenance, for the record of a cell whose process dies, and
    the stages, epochs and heartbeats of the work. log: the file of
    what this process prints. SIGTERM ends the work at its next step, with a checkpoint.
    """
    clock = CheckpointClock(checkpoint_seconds)

    def stop(number: int, frame: FrameType | None) -> None:
        """Ask training to end; what is no training ends at once."""
        clock.request_stop()
        if not clock.is_polled:
            raise Interrupted("stopped; the same command goes on from there")

    signal.signal(signal.SIGTERM, stop)
    denormals.flush()  # before torch starts its threads, which then do so too
    torch.set_num_threads(threads)
    no_hidden_tf32()
    say_through(lambda line: send(say=line))
    heartbeat.listen(lambda message: send(**message))
    given = [Task.from_json(task) for task in tasks]
    send(provenance=provenance(device, given[0]).to_json())
    run_pack(given, device, clock, Path(log))
