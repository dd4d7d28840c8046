"""The network that a training starts from, and the one that it may learn from."""

from dataclasses import replace
from pathlib import Path

import torch

from roadseg.config import TrainConfig, get_model_config
from roadseg.engine.prepared import ready
from roadseg.errors import CheckpointError
from roadseg.labels import LabelScheme
from roadseg.model.checkpoint import load_checkpoint
from roadseg.model.unet import PretrainedUNet, RoadNet, build_model


def teacher_model(config: TrainConfig, scheme: LabelScheme, device: torch.device) -> RoadNet | None:
    """Return the network of `config.teacher`, ready to be asked; CheckpointError when its classes differ."""
    if config.teacher is None:
        return None
    given = load_checkpoint(Path(config.teacher))
    if given.scheme.classes != scheme.classes:
        raise CheckpointError(
            f"--teacher {config.teacher}: knows the classes of {given.scheme.name}, not of "
            f"{scheme.name}; give one of the same classes."
        )
    return ready(given.model, device)


def initial_model(config: TrainConfig, scheme: LabelScheme) -> RoadNet:
    """Return the network to start from: fresh, or with the weights of `config.weights`.

    Where that checkpoint has other classes, everything but the head is taken over. Raises CheckpointError
    when it is another network than the one that is asked for.
    """
    if config.weights is None:
        model = build_model(config.network, scheme.num_classes)
        if config.encoder_weights and isinstance(model, PretrainedUNet):
            model.encoder.load_imagenet(config.encoder_weights)
        return model
    given = load_checkpoint(Path(config.weights))
    if config.model and replace(given.model.config, members=()) != get_model_config(config.model):
        raise CheckpointError(
            f"{config.weights}: holds another network than --model {config.model}; leave that out."
        )
    if given.scheme.classes != scheme.classes:
        given.model.renew_head(scheme.num_classes)
    return given.model
