"""Which engine runs the cells of a run."""

from dataclasses import dataclass

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.runner.engines.ray_cluster import Share
from vaezoo.runner.limits import Limits

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineChoice:
    """engine: `local` (this machine) or `ray` (the nodes of a Ray cluster). address: of the cluster; None for that of
    RAY_ADDRESS or the one on this machine. gpus: of a cell, a fraction for cells that share one; None for one where the
    run's device is a GPU.

    VaezooError for values that do not go together.
    """

    engine: str = "local"
    address: str | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            known = ", ".join(ENGINES)
            raise VaezooError(f"--engine must be one of {known}, got {self.engine!r}; {nearest(self.engine, ENGINES)}")
        for option, value in (("--address", self.address), ("--gpus-per-cell", self.gpus)):
            if value is not None and self.engine == "local":
                raise VaezooError(f"{option} is for a cluster; add --engine ray, or leave {option} out")
        if self.gpus is not None and not (0 <= self.gpus <= 1 or (1 < self.gpus < 2**16 and self.gpus % 1 == 0)):
            raise VaezooError(f"--gpus-per-cell must be a fraction up to 1 or a whole number, got {self.gpus:g}")

    def share(self, device: str, limits: Limits) -> Share:
        """What a cell of a run for this device gets of a node."""
        gpus = self.gpus if self.gpus is not None else float(device.startswith("cuda"))
        return Share(1, gpus, limits.memory or 0)

    def device(self, device: str) -> str:
        """The device of the cells of a run for this device."""
        if self.engine == "local":
            return device
        return "cuda" if self.share(device, Limits()).gpus else "cpu"
