"""One metric of one model, measured on its own."""

import torch

from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import registry


def evaluation(dataset, images=None, samples=100, **per_image):
    return Evaluation(samples, 0, dataset, torch.arange(images or len(dataset.test)), per_image=dict(per_image))


def metric(name, model, dataset, context=None, **options):
    context = context or evaluation(dataset)
    return registry("metric")[name].target(model, dataset.test.x, context, **options)
