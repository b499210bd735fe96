"""Pythae 0.1.2 (`pip install vaezoo[peers]`): its own VAE, its trainer's loop and its `get_nll`, on our net's sizes."""

import logging
import tempfile
import warnings
from typing import Any

import torch
from loops import BATCH, RATE, Net
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback


class Encoder(BaseEncoder):
    """A net as Pythae's documentation has one written; its heads give log var where ours give log std."""

    def __init__(self, net: Net):
        super().__init__()
        self.net = nn.Sequential(*net.encoder)
        with torch.no_grad():
            for values in net.encoder[-1].parameters():
                values[len(values) // 2 :] *= 2

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_covariance = self.net(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_covariance)


class Decoder(BaseDecoder):
    """Probabilities, which Pythae's `bce` asks for."""

    def __init__(self, net: Net):
        super().__init__()
        self.net = nn.Sequential(*net.decoder, nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.net(z))


def model_of(net: Net) -> Any:
    """Pythae's VAE with this net's weights; the net is used up."""
    config = VAEConfig(
        input_dim=(net.decoder[-1].out_features,), latent_dim=net.decoder[0].in_features, reconstruction_loss="bce"
    )
    device = net.decoder[0].weight.device
    model = VAE(config, encoder=Encoder(net), decoder=Decoder(net)).to(device)
    model.device = device
    return model


class Training:
    """Pythae's BaseTrainer over its own data set class.

    What is timed is `train_step`, its loop over an epoch. Its progress bar, logs, copies of the best model and files
    are left out, in its favour.
    """

    def __init__(self, net: Net, x: Tensor):
        logging.getLogger("pythae").setLevel(logging.ERROR)
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("pythae")]:
            logging.getLogger(name).setLevel(logging.ERROR)
        self.folder = tempfile.TemporaryDirectory()
        images = x[: len(x) // BATCH * BATCH].cpu()  # its loader would end with a smaller batch
        config = BaseTrainerConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            num_epochs=1,
            no_cuda=x.device.type == "cpu",
        )
        data = BaseDataset(images, torch.zeros(len(images)))
        self.trainer = BaseTrainer(model_of(net), data, training_config=config)
        self.trainer.prepare_training()
        self.trainer.callback_handler = CallbackHandler([TrainingCallback()], self.trainer.model)
        self.count = 0

    def epoch(self) -> float:
        """Train for one epoch; the mean ELBO in nats an image."""
        self.count += 1
        return -self.trainer.train_step(self.count)


@torch.no_grad()
def log_likelihood(model: Any, x: Tensor, samples: int, batch_size: int) -> Tensor:
    """`get_nll` (which gives a log-likelihood, not its negative) of each image, [N]: it goes image by image itself.

    It draws batch_size samples where fewer are asked for, and drops the rest of samples / batch_size: so that it does
    the work it is asked for, batch_size is at most `samples`, and must divide it.
    """
    batch_size = min(batch_size, samples)
    if samples % batch_size:
        raise ValueError(f"get_nll would not draw {samples} samples in batches of {batch_size}; take a multiple")
    model.eval()
    return torch.tensor([float(model.get_nll(x[n : n + 1], samples, batch_size)) for n in range(len(x))])
