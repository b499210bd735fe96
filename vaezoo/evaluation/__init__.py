"""The estimator of log p(x), its block sizes, annealed importance sampling, and what a metric is given."""
