"""What a coarser precision gains and costs: the estimate's speed beside float32, and how far the estimates lie apart.

    python benchmarks/iwll_precision.py --threads 1 --rounds 15 [--record results/mnist/cells/NAME.json]

The speed is that of a 784-400-20 net on 100 binary images, interleaved rounds. The difference is that of the model of a
record with its checkpoint, on its first 500 test images (K = 500, the same noise), else of the untrained net.
"""

import argparse
import json
import statistics
import warnings
from pathlib import Path

import torch
from iwll_ceiling import images, made

import vaezoo
from vaezoo.evaluation.blocks import now
from vaezoo.evaluation.precision_difference import difference_from_float32


def main() -> None:
    """Measure, and print a line for people and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--record")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", vaezoo.VaezooWarning)  # the net is not trained
    model, x = made("float32"), images()
    ratios = []
    for each in range(args.rounds + 1):
        seconds = []
        for model.precision in ("float32", args.precision):
            start = now(model.device)
            vaezoo.log_likelihood(model, x, args.samples)
            seconds.append(now(model.device) - start)
        if each:  # the first warms up
            ratios.append(seconds[0] / seconds[1])
    low, median, high = statistics.quantiles(ratios, n=4)
    if args.record:
        model = vaezoo.load_model(args.record)
        known = json.loads(Path(args.record).read_text())["specification"]["dataset"]
        x = vaezoo.load_dataset(known["name"]).test.x
    model.precision = args.precision
    found = difference_from_float32(model, x, 500)
    apart, error = found["iwll_minus_float32"], found["iwll_minus_float32_standard_error"]
    print(
        f"{args.precision}, {args.threads} threads: {median:.2f} ({low:.2f} to {high:.2f}) times float32's speed; ",
        end="",
    )
    print(f"iwll differs by {apart:.4f} +- {error:.4f} nats")
    print(json.dumps(vars(args) | {"ratio": median, "quartiles": [low, high], **found}))


if __name__ == "__main__":
    main()
