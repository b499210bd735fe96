"""Whether two checkouts of vaezoo compute the same: weights and per-image estimates of every variant, bit for bit.

    python benchmarks/same_numbers.py /path/to/other/checkout [--data-root DIR] [--out DIR]

Each checkout runs the same two matrices (every variant alone, and two seeds packed) through its own command line:
3 epochs on digits-binary, digits, digits-dequantised, linear-gaussian and mnist-dynamic. Weights (.safetensors),
per-image values (.npz) and results are then compared by row, data set and seed; times and memory are left out.
Exit code 0 where all are equal, 1 where one differs. What has a record under --out is not run again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parents[1]
DATASETS = ["digits-binary", "digits", "digits-dequantised", "linear-gaussian", "mnist-dynamic"]
VARIANTS = ["vae", "beta-vae", "iwae", "vae-vampprior", "vae-mixture", "ppca"]
MEASURED = ("seconds", "peak_memory_bytes", "_per_second")
"""Results whose names contain one of these are times or memory, which differ from run to run."""


def matrix(pack: int) -> str:
    """The matrix file, in TOML."""
    rows = "".join(
        f'[[variants]]\nname = "{name}"\n' + ("prior.components = 50\n" if name == "vae-vampprior" else "")
        for name in VARIANTS
    )
    return (
        f'name = "same-numbers-{pack}"\ndatasets = {json.dumps(DATASETS)}\nseeds = 2\npack = {pack}\n'
        "[model]\nlatent = 20\nhidden = [400]\n"
        "[train]\nepochs = 3\nkl_warmup = 1\nvalidation_images = 500\n"
        "[evaluate]\nimportance_samples = 100\nimages = 500\nthroughput = false\n"
        'metrics = ["kl-per-dimension", "active-unit-vector", "collapse"]\n'
        f"{rows}"
    )


def run(checkout: Path, out: Path, pack: int, data_root: str | None) -> Path:
    """Run the matrix with a checkout's own code; the results folder."""
    out.mkdir(parents=True, exist_ok=True)
    file, folder = out / f"same-numbers-{pack}.toml", out / f"pack-{pack}"
    file.write_text(matrix(pack), encoding="utf-8")
    command = [sys.executable, "-c", "from vaezoo.cli import main; main()", "run", str(file), "--out", str(folder)]
    command += ["--device", "cpu", "--jobs", "1"] + (["--data-root", data_root] if data_root else [])
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, cwd=out, stdout=subprocess.DEVNULL)
    return folder


def cells(folder: Path) -> dict[tuple[str, str, int], dict]:
    """(row, data set, seed) -> every number of the cell that must be the same."""
    found = {}
    for path in sorted((folder / "cells").glob("*.json")):
        record = json.loads(path.read_text())
        results = {k: v for k, v in record.get("results", {}).items() if not any(word in k for word in MEASURED)}
        numbers = {"status": record["status"], "results": results, "best_epoch": record.get("best_epoch")}
        numbers["vectors"] = record.get("vectors")
        if record["status"] == "ok":
            numbers["history"] = {k: v for k, v in record["history"].items() if k != "seconds"}
            for suffix, values in (
                ("weights", load_file(folder / "checkpoints" / f"{path.stem}.safetensors")),
                ("images", dict(np.load(path.with_suffix(".npz")))),
            ):
                numbers |= {f"{suffix} {name}": value.tobytes() for name, value in values.items()}
        found[record["label"], record["dataset"], record["seed"]] = numbers
    return found


def differences(one: Path, other: Path) -> list[str]:
    """A line for each number that differs."""
    a, b = cells(one), cells(other)
    lines = [f"{cell} is only in one of them" for cell in sorted(a.keys() ^ b.keys())]
    for cell in sorted(a.keys() & b.keys()):
        names = sorted(a[cell].keys() | b[cell].keys())
        lines += [f"{cell}: {name} differs" for name in names if a[cell].get(name) != b[cell].get(name)]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--data-root", default=os.environ.get("VAEZOO_DATA"))
    parser.add_argument("--out", type=Path, default=Path("same-numbers"))
    given = parser.parse_args()
    data_root = str(Path(given.data_root).resolve()) if given.data_root else None
    lines = []
    for pack in (1, 2):
        folders = [
            run(checkout.resolve(), (given.out / name).resolve(), pack, data_root)
            for name, checkout in (("other", given.other), ("this", HERE))
        ]
        found = differences(*folders)
        print(f"pack = {pack}: {len(cells(folders[0]))} cells compared, {len(found)} differences", flush=True)
        lines += found
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
