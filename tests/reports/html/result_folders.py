"""Results folders with histories, vectors, audits and pictures, for the report's tests."""

import os
from dataclasses import replace
from unittest import mock

import numpy as np
from folders import a_record, timing, write

from vaezoo.core.columns import Column
from vaezoo.evaluation.audit_figures import Audit, Figure
from vaezoo.evaluation.picture_arrays import Pictures
from vaezoo.runner.store import Store

COLUMNS = (Column("ais", "ais (nats)", "nats", better=1), Column("ais_standard_error"), Column("ais_iwll"))
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "a|b $x$ \u2028 'q' \"q\" & {{ 7*7 }}",
    "\x1b[31mred\x1b[0m \u202egnp.exe",
    "=HYPERLINK(1)",
    "x" * 180,
)


def a_cell_with_all(label, seed, mean, *, epochs=12, dataset="digits", latent=6, **others):
    """A record with everything that a report shows."""
    random = np.random.default_rng([seed, len(label), int(abs(mean) * 100)])
    results = {
        "iwll": mean + 0.1 * seed, "iwll_standard_error": 0.01, "effective_samples": 40.0, "pareto_k": 0.5 + 0.2 * seed,
        "elbo": mean - 2, "kl": 20.0, "reconstruction": mean + 18, "active_units": 5,
        "parameters": 10_000 + 7 * len(label),
        "train_seconds": 30.0 + seed, "ais": mean + 0.2, "ais_standard_error": 0.4, "ais_iwll": mean + 0.1,
    }  # fmt: skip
    cell, record = a_record(label, seed, results, dataset=dataset, **others)
    steps = np.arange(1, epochs + 1)
    rising = mean - 30 * np.exp(-steps / 4) + 0.1 * seed
    history = {
        "objective": (rising - 3).tolist(),
        "validation_iwll": rising.tolist(),
        "seconds": (steps * (1.0 + 0.1 * len(label) / 10)).tolist(),
    }
    sizes = np.sort(random.random(latent))[::-1].tolist()
    vectors = {
        "kl_per_dimension": [sizes], "mean_variances": sizes,
        "iwll_curve_samples": [1, 10, 100], "iwll_curve": [mean - 2, mean - 0.5, mean],
    }  # fmt: skip
    audit = Audit(16, {"reloaded": Figure(0.0, 1e-4)})
    command = ("vaezoo", "run", "made.toml", "--only", "vae*", "--jobs=2", "--out", "somewhere")
    provenance = replace(record.provenance, command=command, git="0123456789abcdef" * 2 + "01234567")
    return cell, replace(
        record, history=history, vectors=vectors, audit=audit, provenance=provenance, seconds=60.0, best_epoch=epochs
    )


def some_pictures(seed=0):
    """Pictures of every kind."""
    random = np.random.default_rng(seed)

    def images(*sizes):
        return random.integers(0, 256, (*sizes, 8, 8, 1), dtype=np.uint8)

    return Pictures(
        images(16), images(10), images(10), images(3, 8), images(4, 7), np.arange(4),
        np.linspace(0.05, 0.95, 7, dtype=np.float32),
        random.normal(size=(60, 2)).astype(np.float32), random.integers(0, 4, 60), "PCA",
    )  # fmt: skip


def whole(folder, labels=("vae", "iwae", "vae, slow"), seeds=3, failing=True, **others):
    """A folder with rows, timings, pictures and a failure."""
    records = []
    for place, label in enumerate(labels):
        records += [a_cell_with_all(label, seed, -80.0 - 3 * place, **others) for seed in range(seeds)]
        records.append(timing(label, 1000.0 * (1 + place), dataset=others.get("dataset", "digits")))
    if failing:
        records.append(a_record("broken", 0, {}, status="diverged", reason=f"loss is NaN {HOSTILE[0]}"))
    images = {
        (cell.label, cell.seed): np.full(50, record.results["iwll"]) + np.linspace(-1, 1, 50) * (1 + 0.1 * cell.seed)
        for cell, record in records
        if cell.seed is not None and record.status == "ok"
    }
    with mock.patch.object(os, "fsync"):
        write(folder, records, images, COLUMNS)
        for cell, record in records:
            if cell.seed == 0 and record.status == "ok":
                Store(folder).write_pictures(cell.stem, some_pictures())
    return folder


def many(folder, rows=400, seeds=5):
    """A folder of rows x seeds cells."""
    records = []
    for row in range(rows):
        label = f"vae, prior={row % 20}, posterior={row // 20}"
        records += [a_cell_with_all(label, seed, -80.0 - row % 37 / 7, epochs=40) for seed in range(seeds)]
        records.append(timing(label, 1000.0 + 13 * row))
    with mock.patch.object(os, "fsync"):
        return write(folder, records, None, COLUMNS)
