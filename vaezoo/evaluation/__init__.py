"""The estimator of log p(x), its block sizes, annealed importance sampling, and the metrics' argument `Evaluation`."""
