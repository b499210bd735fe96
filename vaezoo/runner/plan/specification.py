"""Everything that a cell's result depends on, and its key: the sha256 of that as canonical JSON."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaezoo.registry import Slots
from vaezoo.runner.json_values import canonical, fitted
from vaezoo.training.options import TrainingOptions

PROTOCOL = 4
"""Raised by one whenever a change to core, training or evaluation changes what a cell measures: every cell is then run
again.
"""


@dataclass(frozen=True)
class DatasetChoice:
    """A data set's registered name, its options, the checksum of its images, for a conditional model that of their
    context, and where a metric reads labels that of the labels.
    """

    name: str
    options: dict[str, Any]
    checksum: str
    context_checksum: str | None = None
    labels_checksum: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Every entry; a checksum that is None is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}


def keyed(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a specification's JSON that its key covers: all but the option `path` of the data set."""
    dataset = specification["dataset"]
    options = {name: value for name, value in dataset["options"].items() if name != "path"}
    return {**specification, "dataset": {**dataset, "options": options}}


def key_of(specification: Mapping[str, Any]) -> str:
    """The key of a specification's JSON."""
    return hashlib.sha256(canonical(keyed(specification)).encode()).hexdigest()


@dataclass(frozen=True)
class EvaluationOptions:
    """How a trained model is evaluated. images: how many of the test set, None for all."""

    importance_samples: int
    images: int | None


@dataclass(frozen=True)
class Specification:
    """Everything that the result of a cell, or of a timing, depends on.

    slots: each part's name with all its hyper-parameters; latent: the size of the latent group, or of each one, top
    first, where there are several; metrics: (name, options) of each; code: the fingerprint of each plugin that takes
    part, by `slot/name`. A cell has a seed, metrics and an evaluation. A timing has a device and a number of threads
    instead, because its speeds hold only there.
    """

    protocol: int
    variant: str
    slots: Slots
    latent: int | tuple[int, ...]
    hidden: tuple[int, ...]
    allow_pseudo_likelihood: bool
    dataset: DatasetChoice
    code: dict[str, str]
    train: TrainingOptions
    metrics: tuple[tuple[str, dict[str, Any]], ...] | None = None
    evaluate: EvaluationOptions | None = None
    seed: int | None = None
    device: str | None = None
    threads: int | None = None

    @property
    def key(self) -> str:
        """The sha256 of the canonical JSON: sorted names, no spaces. The place of a data file is no part of it, because
        the checksum of its images is.
        """
        return key_of(self.to_json())

    def with_seeds(self, seeds: Sequence[int]) -> "Iterator[tuple[str, Specification]]":
        """(key, specification) for each seed. The text that the seeds share is written and hashed once.

        The keys equal `replace(self, seed=seed).key`.
        """
        shared = {name: value for name, value in keyed(self.to_json()).items() if name != "seed"}
        before = {name: value for name, value in shared.items() if name < "seed"}
        after = {name: value for name, value in shared.items() if name > "seed"}
        start, rest = (
            hashlib.sha256(f'{canonical(before)[:-1]},"seed":'.encode()),
            f",{canonical(after)[1:]}".encode(),
        )
        for seed in seeds:
            digest = start.copy()
            digest.update(str(seed).encode() + rest)
            yield digest.hexdigest(), replace(self, seed=seed)

    def timed_on(self, device: str, threads: int) -> "Specification":
        """The specification of this cell's timing. Speeds depend neither on the seed nor on the length of training, so
        of the training options only those count that a step depends on; the others are the same in every timing.
        """
        train = TrainingOptions(
            validation_images=None,
            batch_size=self.train.batch_size,
            gradient_clip=self.train.gradient_clip,
            precision=self.train.precision,
            compile=self.train.compile,
        )
        code = {title: digest for title, digest in self.code.items() if not title.startswith("metric/")}
        return replace(
            self,
            dataset=replace(self.dataset, labels_checksum=None),
            train=train,
            code=code,
            metrics=None,
            evaluate=None,
            seed=None,
            device=device,
            threads=threads,
        )

    def to_json(self) -> dict[str, Any]:
        """The specification as a record stores it; what a cell, or a timing, does not have is left out."""
        value = {name: each for name, each in vars(self).items() if each is not None}
        value |= {"latent": self.latent if isinstance(self.latent, int) else list(self.latent)}
        value |= {"dataset": self.dataset.to_json(), "train": self.train.to_json(), "hidden": list(self.hidden)}
        if self.metrics is not None:
            value["metrics"] = [list(metric) for metric in self.metrics]
        if self.evaluate is not None:
            value["evaluate"] = dict(vars(self.evaluate))
        return value | {"slots": {slot: list(choice) for slot, choice in self.slots.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Specification":
        """The specification of a record, also of one that version 0.1.0 wrote (its `train` lacks what was unset)."""
        return fitted(cls, value)
