"""Results frames made by hand, and the cells and bold numbers of a table's Markdown."""

import re

import pandas

MEASURED = {
    "importance_samples": 1000,
    "measure": "binary",
    "binarisation": "dynamic",
    "checksum": "0123456789abcdef" * 4,
    "split": "test",
    "images": 10000,
    "estimator": "iwll",
    "conditional": False,
    "pseudo_likelihood": False,
    "device": "cpu",
    "precision": "float32",
}
SPEEDS_AND_COSTS = {
    "train_images_per_second": 26600.0,
    "iwll_samples_per_second": 1.23e6,
    "own_memory_bytes": 812 * 2**20,
    "parameters": 1234567,
}


def cells(label, iwll, *, dataset="mnist-dynamic", failed=(), **others):
    """The rows of one variant: a cell for each value of `iwll`, then one for each (status, reason) of `failed`."""
    rows = []
    for seed, value in enumerate([*iwll, *failed]):
        row = {"label": label, "variant": label, "dataset": dataset, "seed": seed, "status": "ok", "reason": None}
        if seed < len(iwll):
            row |= {"iwll": value, "elbo": value - 4, "kl": 25.0, **SPEEDS_AND_COSTS, **MEASURED, **others}
        else:
            row |= {"status": value[0], "reason": value[1]}
            row |= {name: setting for name, setting in others.items() if "." in name}
        rows.append(row)
    return rows


def framed(*parts, **attrs):
    frame = pandas.DataFrame([row for part in parts for row in part])
    frame.attrs.update(attrs)
    return frame


def shown(table):
    """The cells of the first Markdown table: label -> heading -> text."""
    lines = [line for line in table.markdown().split("\n## ")[0].splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[2:]}


def bold(table):
    """(label, heading) of each bold number in the Markdown table."""
    cells = shown(table)
    return {(label, heading) for label, row in cells.items() for heading, text in row.items() if text.startswith("**")}


IWLL, ELBO, TRAIN = "iwll (nats) ↑", "elbo (nats) ↑", "train images/s ↑"
REFERENCES = [
    {"label": "a paper", "dataset": "mnist-dynamic", "iwll": -70.0, "source": "arXiv:1", "importance_samples": 5000},
    {"label": "elsewhere", "dataset": "omniglot", "iwll": -70.0},
]
