"""Fashion-MNIST: articles of clothing of 28 x 28, gray or binarised anew for every batch."""

from pathlib import Path

from vaezoo.core.data import Dataset
from vaezoo.datasets._labels import Context, with_context
from vaezoo.datasets._mnist_files import binarised, gray_splits
from vaezoo.registry import register

PAPER = "Xiao et al. (2017), arXiv:1708.07747"


@register.dataset("fashion-mnist", paper=PAPER)
def fashion_mnist(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Clothing of 256 gray levels (discrete), shape (1, 28, 28); 50k / 10k / 10k with labels.

    Validation is the last 10,000 images of the training file; the same for every seed. Raises VaezooError when the
    files can be neither read nor downloaded. context: "labels" gives conditional models the class of each image,
    one-hot.
    """
    return Dataset(*with_context(*gray_splits(root, "FashionMNIST"), context), measure="discrete", levels=256)


@register.dataset("fashion-mnist-dynamic", paper=PAPER)
def fashion_mnist_dynamic(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Fashion-MNIST binarised anew for every training batch; validation and test drawn once for each seed.

    50k / 10k / 10k. A pixel is 1 with probability gray / 255. Raises as `fashion-mnist`.
    context: as of `fashion-mnist`.
    """
    train, valid, test = gray_splits(root, "FashionMNIST")
    valid, test = binarised(valid, seed, "valid"), binarised(test, seed, "test")
    splits = with_context(train, valid, test, context)
    return Dataset(*splits, measure="binary", binarisation="dynamic")
