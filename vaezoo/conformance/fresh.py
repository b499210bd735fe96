"""New interpreters, and the densities of given points, here and in one that loads the model's weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaezoo.conformance.subject import Subject, keyed
from vaezoo.conformance.verdict import Wrong
from vaezoo.core.contracts import Latents
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.registry import Plugin, Variant, register, registry
from vaezoo.runner.children.client import BOOTSTRAP
from vaezoo.runner.plan.catalogue import declared_parts
from vaezoo.runner.plan.sources import Sources, sources_of

TIMEOUT = 100.0
"""Seconds that the new interpreter may take."""
Values = dict[str, Tensor]
"""Name of a term -> its values. [K, B, ...]"""


def densities(model: LatentModel, batch: Batch, z: Latents, seed: int = 0) -> Values:
    """log p(x|z) [K, B], log p(z) [K, B] and the decoder's output [K, B, *parameter_shape] of given (x, z)."""
    with torch.no_grad(), keyed(seed, model, batch):
        return {
            "log p(x|z)": model.log_likelihood(batch, z),
            "log p(z)": model.log_prior(batch, z).sum(0),
            "the decoder's output": model.decoder_output(batch, z),
        }


def scores(model: LatentModel, batch: Batch, z: Latents) -> Values:
    """The densities, log q(z|x) where given points can be scored, and a draw of q(z|x) and of p(z) for each image."""
    found = densities(model, batch, z)
    with torch.no_grad(), keyed(107, model, batch):
        q = model.posterior(batch)
        score, drawn = q.log_prob(z), q.rsample_and_log_prob(1)[0]
    with torch.no_grad(), keyed(109, model):
        simulated = model.prior_sample(len(batch.x), batch.context)
    found |= {"samples of q(z|x)": torch.cat(drawn, -1), "samples of p(z)": torch.cat(simulated, -1)[None]}
    return found if score is None else found | {"log q(z|x)": score.sum(0)}


def sources_with_parts(plugin: Plugin) -> Sources:
    """The plugin files that this process has imported, and the packages that the plugin and its parts need."""
    parts = declared_parts(plugin.target) if isinstance(plugin.target, Variant) else []
    own = sources_of([plugin, *(registry(slot)[name] for slot, name in parts)])
    return Sources(tuple(dict.fromkeys([*map(str, register.files), *own.files])), own.packages)


def new_interpreter(arguments: Sequence[str], hash_seed: int, task: str) -> str:
    """What a new interpreter with these arguments and this hash seed prints.

    task: `load it`, what it could not do where it fails. Wrong where it fails, with the last line that it wrote, or
    takes longer than TIMEOUT.
    """
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Wrong("time-out", f"a new interpreter took longer than {TIMEOUT:g} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Wrong("failed", f"a new interpreter could not {task}: {last}")
    return done.stdout


def fresh_values(subject: Subject, model: LatentModel, batch: Batch, z: Latents) -> Values:
    """`scores` of the same points by a new interpreter that builds the model and loads its weights."""
    question: dict[str, Any] = {"slot": subject.plugin.slot, "name": subject.plugin.name, "measure": subject.measure}
    question |= {"sources": vars(sources_with_parts(subject.plugin)), "context": subject.context}
    points = {"x": batch.x, **{f"z{n}": group for n, group in enumerate(z)}}
    points |= {} if batch.context is None else {"context": batch.context}
    with tempfile.TemporaryDirectory() as folder:
        save_file(_contiguous(model.state_dict()), f"{folder}/weights")
        save_file(_contiguous(points), f"{folder}/points")
        Path(folder, "question").write_text(json.dumps(question))
        new_interpreter(["-c", BOOTSTRAP, json.dumps(sys.path), __name__, folder], 1, "compute them")
        return load_file(f"{folder}/answer")


def _contiguous(tensors: dict[str, Any]) -> Values:
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


def _answer(folder: str) -> None:
    """In the new interpreter: build the model, load its weights and write the scores of the points."""
    torch.set_num_threads(1)
    question = json.loads(Path(folder, "question").read_text())
    Sources.from_json(question["sources"]).load()
    subject = Subject(registry(question["slot"])[question["name"]], False, question["measure"], question["context"])
    model = subject.build(seed=1, altered=True)[0].eval()
    model.load_state_dict(load_file(f"{folder}/weights"))
    points = load_file(f"{folder}/points")
    batch = Batch(points["x"], points.get("context"), torch.arange(len(points["x"])))
    groups = sorted(name for name in points if name.startswith("z"))
    save_file(_contiguous(scores(model, batch, tuple(points[name] for name in groups))), f"{folder}/answer")


if __name__ == "__main__":
    _answer(sys.argv[-1])
