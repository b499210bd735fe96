"""Rows that cross settings, made by hand, and how often their effects are right."""

from itertools import product

import numpy as np

from vaezoo.reports.effects import effects_of
from vaezoo.reports.rows import TableRow
from vaezoo.reports.statistics import summarise

AXES = {
    "prior": ("normal", "vampprior", "mixture"),
    "posterior": ("gaussian", "iaf", "vmf"),
    "objective": ("elbo", "beta"),
}


def crossed(numbers, axes=AXES, validation=None, without=()):
    """A row for each combination of the axes' levels, from its number in each seed [R, S]."""
    rows = []
    for place, levels in enumerate(product(*axes.values())):
        values = {"iwll": summarise(numbers[place])}
        kept = dict(enumerate(np.asarray(numbers[place], float).tolist()))
        chosen = kept if validation is None else dict(enumerate(validation[place]))
        settings = dict(zip(axes, levels, strict=True))
        if levels not in without:
            rows.append(
                TableRow(", ".join(levels), values, settings=settings, numbers={"iwll": kept}, validation=chosen)
            )
    return rows


def planted(axes=AXES, main=None, together=None):
    """The true number of each combination. main: (axis, level) -> effect; together: (level, level) -> effect."""
    main, together = main or {}, together or {}
    found = []
    for levels in product(*axes.values()):
        value = -90.0 + sum(main.get(pair, 0.0) for pair in zip(axes, levels, strict=True))
        found.append(value + sum(size for pair, size in together.items() if set(pair) <= set(levels)))
    return np.array(found)


def noisy(random, truth, seeds, spread=0.1, block=1.0):
    """Numbers [R, S] with noise of each cell (spread: of all rows, or of each), and of each seed for all rows."""
    noise = np.broadcast_to(spread, len(truth))[:, None] * random.normal(size=(len(truth), seeds))
    return truth[:, None] + noise + block * random.normal(size=seeds)


def false_alarms(tables, seeds, spread=0.1, start=0):
    """The share of tables without any effect that tell one from 0: (main effects, interactions)."""
    random = np.random.default_rng(start)
    told = []
    for _ in range(tables):
        found = effects_of("d", crossed(noisy(random, planted(), seeds, spread)))
        told.append([any(effect.is_told for effect in family) for family in (found.main, found.interactions)])
    return np.mean(told, 0)


def coverage(tables, seeds, spread=0.1, start=0):
    """The share of 95 % intervals that hold the planted effect: (main effects, interactions)."""
    random = np.random.default_rng(start)
    truth = planted(main={("prior", "vampprior"): 1.0}, together={("iaf", "beta"): 0.5})
    exact = effects_of("d", crossed(truth[:, None] + np.zeros(2)))
    hits = []
    for _ in range(tables):
        found = effects_of("d", crossed(noisy(random, truth, seeds, spread)))
        hits.append(
            [
                np.mean([e.found.low <= t.found.mean <= e.found.high for e, t in zip(mine, true, strict=True)])
                for mine, true in ((found.main, exact.main), (found.interactions, exact.interactions))
            ]
        )
    return np.mean(hits, 0)
