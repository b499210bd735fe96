"""How a metric goes through the images."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation


def batches(model: LatentModel, images: Tensor, context: Evaluation, size: int = 1000) -> Iterator[Batch]:
    """The images in blocks on the model's device, each with its images' numbers in their split."""
    for rows in torch.arange(len(images)).split(size):
        yield model.batch(images[rows], index=context.index[rows].to(model.device))
