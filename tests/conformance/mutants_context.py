"""Likelihoods whose every method needs the context, and wrong ones that forget it: NAME is right, NAME-wrong is not."""

import torch

import vaezoo


@vaezoo.register.likelihood("exposed")
class Exposed(vaezoo.Likelihood):
    """Poisson counts whose log rate has an offset, the second column of the context."""

    measures = ("counts",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape, self.ones = spec.shape, (1,) * len(spec.shape)

    def rate(self, parameters, context):
        return (parameters + 0.5 * context[:, 1].reshape(-1, *self.ones)).exp()

    def log_prob(self, x, parameters, context):
        rate = self.rate(parameters, context)
        return (x * rate.log() - rate - torch.lgamma(x + 1)).flatten(2).sum(-1)

    def mean(self, parameters, context):
        return self.rate(parameters, context)

    def sample(self, parameters, context):
        return vaezoo.noise.poisson(self.rate(parameters, context))


@vaezoo.register.likelihood("exposed-mean-wrong")
class ExposedMeanWrong(Exposed):
    """Its mean has no offset."""

    def mean(self, parameters, context):
        return parameters.exp()


@vaezoo.register.likelihood("exposed-sample-wrong")
class ExposedSampleWrong(Exposed):
    """Its samples have no offset."""

    def sample(self, parameters, context):
        return vaezoo.noise.poisson(parameters.exp())
