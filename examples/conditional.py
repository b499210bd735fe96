"""A conditional model p(x|z, label) in one plugin file: a decoder whose layers the label scales and shifts.

    vaezoo check examples/conditional.py
    vaezoo run examples/conditional.toml

A method that names `context` after its own arguments is given the vector of each image, here its one-hot label. A model
with such a part is conditional: its log-likelihood is log p(x|context), which no table ranks with log p(x). A data set
brings a context, or has an option such as context = "labels". In Python:

    model = vaezoo.load_model("results/.../cells/....json", plugins=["examples/conditional.py"])
    threes = model.sample(16, torch.nn.functional.one_hot(torch.full((16,), 3), 10))
"""

import itertools
import math

from torch import Tensor, nn

import vaezoo


@vaezoo.register.decoder("film", paper="Perez et al. (2018), arXiv:1709.07871")
class FiLM(vaezoo.Decoder):
    """Dense layers h -> relu((1 + scale(context)) * (W h + b) + shift(context)), then a linear layer.

    [N, Z], [N, C] -> [N, *parameter_shape]; N = K B, and the context is repeated for each of the K samples.
    """

    replayable = True

    def __init__(self, spec: vaezoo.DataSpec, latent: int, hidden: tuple[int, ...], parameter_shape: tuple[int, ...]):
        super().__init__()
        assert spec.context is not None  # vaezoo skips images without context before it builds this
        widths = [latent, *hidden[::-1]]
        pairs = list(itertools.pairwise(widths))
        self.layers = nn.ModuleList([vaezoo.nets.Linear(before, after) for before, after in pairs])
        self.from_context = nn.ModuleList([vaezoo.nets.Linear(spec.context, 2 * after) for _, after in pairs])
        self.last = vaezoo.nets.Linear(widths[-1], math.prod(parameter_shape))
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        h = z
        for layer, from_context in zip(self.layers, self.from_context, strict=True):
            scale, shift = from_context(context).chunk(2, -1)
            h = ((1 + scale) * layer(h) + shift).relu()
        parameters: Tensor = self.last(h)
        return parameters.unflatten(-1, self.parameter_shape)


vaezoo.register.variant(
    vaezoo.Variant(
        "film-vae",
        encoder="conditional-mlp",
        decoder="film",
        prior="conditional-normal",
        about="a conditional VAE whose decoder's layers the context scales and shifts",
    )
)
