"""Runs jobs on the nodes of a Ray cluster. `ray` is imported when a cluster is asked for."""

import itertools
import logging
import math
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.runner.children.client import KILL, Event
from vaezoo.runner.engines.ray_node import Node, Order, Parcel
from vaezoo.runner.engines.shipping import Mirror, bundle, code_digest, receive
from vaezoo.runner.plan.cell import Task

LARGEST_DATA = 2**31
"""Bytes of the largest decoded data set that is sent to nodes; they load larger ones themselves."""
LOOK = 2.0
"""Seconds between two looks at the nodes of the cluster."""
PATIENCE = 15.0
"""Seconds without a place after which the run says that it waits."""
ANSWER = 10.0
"""Seconds in which the address of a cluster answers, and a node ends its children."""


@dataclass(frozen=True)
class Share:
    """What a cell gets of a node: processor cores, GPUs (a fraction shares one), and bytes of memory (0: not said)."""

    cpus: int
    gpus: float = 0.0
    memory: int = 0

    def count(self, resources: dict[str, float]) -> int:
        """How many cells fit on a node with these resources."""
        fits = [int(resources.get("CPU", 0) // self.cpus)]
        if self.gpus:
            whole = int(resources.get("GPU", 0))
            fits.append(int(whole // self.gpus) if self.gpus >= 1 else whole * math.floor(1 / self.gpus + 1e-9))
        if self.memory:
            fits.append(int(resources.get("memory", 0) // self.memory))
        return min(fits)


@dataclass
class _Slot:
    """An actor on a node. pending: the call that it answers next. node: its host, once it has told. job: what it runs,
    and seen: how many parcels of that have come. data: the labels of the data sets that it has.
    """

    actor: Any
    pending: Any
    node: str | None = None
    id: str = ""
    job: int | None = None
    tasks: Sequence[Task] = ()
    seen: int = 0
    data: set[str] = field(default_factory=set)


class RayCluster:
    """Places on the nodes of a Ray cluster, as a context. Each is an actor that runs one job at a time.

    address: of the cluster's head; None for that of RAY_ADDRESS, or the one that runs on this machine. share: what each
    cell gets. most: places that are asked for at most. memory, checkpoint: as ThisMachine has them. Nodes may come and
    go: a job whose node is lost ends as lost.

    Raises VaezooError where Ray is not installed, there is no cluster, no node can serve a cell, or a node has other
    code.
    """

    def __init__(self, address: str | None, *, share: Share, most: int, memory: int | None, checkpoint: float):
        self.address, self.share, self.most = address, share, most
        self.arguments = ("cuda:0" if share.gpus else "cpu", share.cpus, memory, checkpoint)
        self.ray = _imported()
        self.slots: list[_Slot] = []
        self.lost: list[Event] = []
        self.labels: dict[Path, tuple[str, Any]] = {}
        self.mine = {"vaezoo": vaezoo.__version__, "code": code_digest()}
        self._numbers = itertools.count()
        self._looked, self._since, self._said = 0.0, time.monotonic(), False
        self._connected = False

    def __enter__(self) -> "RayCluster":
        self._connected = not self.ray.is_initialized()
        if self._connected:
            _connect(self.ray, self.address)
        try:
            self._look()
            if not self.slots:
                raise VaezooError(self._no_node())
        except BaseException:
            self._disconnect()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = [slot.actor.close.remote() for slot in self.slots if slot.node is not None]
        with suppress(self.ray.exceptions.RayError):
            self.ray.wait(closing, num_returns=len(closing), timeout=ANSWER) if closing else None
        for slot in self.slots:
            self._end(slot)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            self.ray.shutdown()

    def _no_node(self) -> str:
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        found = "; ".join(_amounts(*(each.get(name, 0) for name in ("CPU", "GPU", "memory"))) for each in nodes)
        needed = _amounts(self.share.cpus, self.share.gpus, self.share.memory)
        return f"no node of the Ray cluster can run a cell, which needs {needed}; its nodes have {found or 'nothing'}"

    def has_room(self) -> bool:
        """Whether a node waits for a job."""
        if time.monotonic() - self._looked > LOOK:
            self._look()
        room = any(slot.node is not None and slot.job is None for slot in self.slots)
        if any(slot.node is not None for slot in self.slots):
            self._since = time.monotonic()
        elif not self._said and time.monotonic() - self._since > PATIENCE:
            self._said = True
            print("waiting for the Ray cluster: no node has room for a cell", file=sys.stderr, flush=True)
        return room

    def _look(self) -> None:
        """Ask for places on new nodes, and give up those that wait on nodes which are lost."""
        self._looked = time.monotonic()
        nodes = {node["NodeID"]: node["Resources"] for node in self.ray.nodes() if node["Alive"]}
        for slot in [slot for slot in self.slots if slot.id and slot.id not in nodes and slot.job is None]:
            self._drop(slot)
        asked = min(self.most, sum(map(self.share.count, nodes.values())))
        for _ in range(asked - len(self.slots)):
            actor = (
                self.ray.remote(Node)
                .options(
                    num_cpus=self.share.cpus,
                    num_gpus=self.share.gpus,
                    memory=self.share.memory or None,
                    max_restarts=0,
                    scheduling_strategy="SPREAD",
                )
                .remote(*self.arguments)
            )
            self.slots.append(_Slot(actor, actor.facts.remote()))

    def start(self, tasks: Sequence[Task], log: Path) -> int:
        """Begin a job on a node that waits for one."""
        slot = next(slot for slot in self.slots if slot.node is not None and slot.job is None)
        job = next(self._numbers)
        bundles = [bundle(path) for path in tasks[0].plugins]
        values, data = [], {}
        for task in tasks:
            label, content = self._data(task.data)
            if label is not None and label not in slot.data:
                data[label] = content
            bare = replace(task, plugins=(), data=None if label is None else Path(label))
            values.append(bare.to_json())
        slot.data |= data.keys()
        order = Order(job, values, Mirror(tasks).changes(), bundles)
        slot.job, slot.tasks, slot.seen = job, tasks, 0
        slot.pending = slot.actor.start.remote(order, data)
        return job

    def _data(self, folder: Path | None) -> tuple[str | None, Any]:
        """The label of a decoded data set, and its files; (None, None) where nodes load it themselves."""
        if folder is None:
            return None, None
        if folder not in self.labels:
            files = [path for path in folder.iterdir() if path.is_file()]
            small = sum(path.stat().st_size for path in files) <= LARGEST_DATA
            content = {path.name: np.fromfile(path, np.uint8) for path in files} if small else None
            self.labels[folder] = str(len(self.labels)), content
        label, content = self.labels[folder]
        return (None, None) if content is None else (label, content)

    def events(self, timeout: float) -> list[Event]:
        """What the nodes have told. The files of each job are written first."""
        found, self.lost = self.lost, []
        by_call = {slot.pending: slot for slot in self.slots if slot.pending is not None}
        if not by_call:
            time.sleep(0 if found else timeout)
            return found
        ready, _ = self.ray.wait(list(by_call), num_returns=1, timeout=0 if found else timeout)
        if ready:
            ready, _ = self.ray.wait(list(by_call), num_returns=len(by_call), timeout=0)
        for call in ready:
            found += self._answer(by_call[call])
        return found

    def _answer(self, slot: _Slot) -> Iterator[Event]:
        """Take what a node has answered, and ask it again."""
        errors = self.ray.exceptions
        try:
            answer = self.ray.get(slot.pending)
        except errors.ActorUnavailableError:
            if slot.job is not None:
                slot.pending = slot.actor.poll.remote(slot.job, slot.seen)
            else:
                slot.pending = slot.actor.facts.remote()
            return
        except errors.RayError as error:
            _refuse_broken(error)
            self._drop(slot)
            self._looked = 0.0
            if slot.job is not None:
                yield Event(slot.job, ended=-KILL, lost=f"node {slot.node} was lost: {_line(error)}")
            return
        if slot.job is None:
            _refuse_other(answer, self.mine)
            slot.node, slot.id, slot.pending = answer["host"], answer["node"], None
            return
        yield from self._taken(slot, answer)

    def _taken(self, slot: _Slot, parcels: Sequence[Parcel]) -> Iterator[Event]:
        """The events of a node's parcels."""
        job = slot.job
        for parcel in parcels:
            if parcel.number < slot.seen:
                continue
            receive(slot.tasks, parcel.changes)
            slot.seen = parcel.number + 1
            yield from parcel.events
            if any(event.ended is not None for event in parcel.events):
                slot.job, slot.pending = None, None
        if slot.job is not None:
            slot.pending = slot.actor.poll.remote(job, slot.seen)

    def kill(self, job: int, number: int) -> None:
        """Send a signal to the process of a job."""
        for slot in self.slots:
            if slot.job == job:
                slot.actor.kill.remote(job, int(number))

    def _drop(self, slot: _Slot) -> None:
        self.slots.remove(slot)
        self._end(slot)

    def _end(self, slot: _Slot) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(slot.actor)


def _amounts(cpus: float, gpus: float, memory: float) -> str:
    """`1 CPU, 0.5 GPU, 4.0 GiB of memory`."""
    return f"{cpus:g} CPU, {gpus:g} GPU" + (f", {memory / 2**30:.1f} GiB of memory" if memory else "")


def _imported() -> Any:
    """The package ray. VaezooError where it is not installed."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise VaezooError(
            f"the engine 'ray' needs Ray, which cannot be imported ({error}); install it with `pip install vaezoo[ray]`"
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster. Raises VaezooError in one line."""
    said = address or "RAY_ADDRESS, or this machine"
    advice = "start one with `ray start --head`, and give its address with --address HOST:PORT"
    host, _, port = (address or "").rpartition(":")
    try:
        if host and "/" not in host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=ANSWER).close()  # Ray itself tries for a minute
        with _signals_kept():
            ray.init(address=address or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ConnectionError) as error:
        raise VaezooError(f"no Ray cluster answers at {said} ({_line(error)}); {advice}") from None
    except (RuntimeError, ValueError) as error:  # another version of Python or Ray, or no address
        raise VaezooError(f"the Ray cluster at {said} cannot be used: {_line(error)}; {advice}") from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the handlers of signals after the block, which Ray replaces with its own."""
    kept = {}
    if threading.current_thread() is threading.main_thread():
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _refuse_broken(error: Exception) -> None:
    """VaezooError where a node could not even import what it runs."""
    text = str(error)
    if "failed to import" in text or "ModuleNotFoundError" in text or "AttributeError: Can't get attribute" in text:
        reason = [line.strip() for line in text.splitlines() if "Error" in line][-1]
        raise VaezooError(
            f"a node of the Ray cluster cannot run cells: {reason}; install vaezoo {vaezoo.__version__} on every node"
        ) from None


def _refuse_other(theirs: dict[str, str], mine: dict[str, str]) -> None:
    """VaezooError where a node has another vaezoo than this process."""
    if any(theirs[name] != mine[name] for name in mine):
        version = theirs["vaezoo"] if theirs["vaezoo"] != mine["vaezoo"] else f"{theirs['vaezoo']} with other code"
        raise VaezooError(
            f"node {theirs['host']} has vaezoo {version}, and this machine has {mine['vaezoo']}; "
            "install the same one everywhere"
        )


def _line(error: Exception) -> str:
    """An error in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
