"""MNIST: handwritten digits of 28 x 28, gray, binarised anew for every batch, or binarised once."""

from pathlib import Path

from vaezoo.core.data import Dataset
from vaezoo.datasets._labels import Context, with_context
from vaezoo.datasets._mnist_files import binarised, gray_splits
from vaezoo.registry import register

PAPER = "LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition"


@register.dataset("mnist", paper=PAPER)
def mnist(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Handwritten digits of 256 gray levels (discrete), shape (1, 28, 28); 50k / 10k / 10k with labels.

    Validation is the last 10,000 images of the training file; the same for every seed. Raises VaezooError when the
    files can be neither read nor downloaded. context: "labels" gives conditional models the class of each image,
    one-hot.
    """
    return Dataset(*with_context(*gray_splits(root, "MNIST"), context), measure="discrete", levels=256)


@register.dataset("mnist-dynamic", paper="Burda et al. (2016), arXiv:1509.00519")
def mnist_dynamic(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """MNIST binarised anew for every training batch; validation and test drawn once for each seed. 50k / 10k / 10k.

    A pixel is 1 with probability gray / 255. Validation and test are those of `mnist-fixed`. Raises as `mnist`.
    context: as of `mnist`.
    """
    train, valid, test = gray_splits(root, "MNIST")
    valid, test = binarised(valid, seed, "valid"), binarised(test, seed, "test")
    splits = with_context(train, valid, test, context)
    return Dataset(*splits, measure="binary", binarisation="dynamic")


@register.dataset("mnist-fixed", paper=PAPER)
def mnist_fixed(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """MNIST with all three splits binarised once for each seed, by draws of our own. 50k / 10k / 10k.

    Not Larochelle's file: nothing here may be compared with numbers on that one. Raises as `mnist`.
    context: as of `mnist`.
    """
    train, valid, test = gray_splits(root, "MNIST")
    train, valid, test = binarised(train, seed, "train"), binarised(valid, seed, "valid"), binarised(test, seed, "test")
    splits = with_context(train, valid, test, context)
    return Dataset(*splits, measure="binary", binarisation="fixed")
