"""The text of a plugin file with a right prior: RIGHT.format(name=...)."""

RIGHT = """
import math
import vaezoo

@vaezoo.register.prior("{name}")
class Mine(vaezoo.Prior):
    '''N(0, I).'''

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -(0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum(-1)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)
"""
