"""torchvision's classification networks as encoders, cut by torchvision's own feature extraction."""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roadseg.errors import CheckpointError
from roadseg.model.encoder import not_of, read_state
from roadseg.model.fused import ACTIVATIONS, FusedConv, merge_pairs

# Name -> its last node at strides 2, 4, 8, 16 and 32.
_RESNET: Final = ("relu", "layer1", "layer2", "layer3", "layer4")
NODES: Final = {
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v2": ("features.1", "features.3", "features.6", "features.13", "features.17"),
    "mobilenet_v3_large": ("features.1", "features.3", "features.6", "features.12", "features.15"),
    "efficientnet_b0": ("features.1", "features.2", "features.3", "features.5", "features.7"),
    "efficientnet_b1": ("features.1", "features.2", "features.3", "features.5", "features.7"),
    "regnet_y_400mf": ("stem", *(f"trunk_output.block{i}" for i in range(1, 5))),
}


class TorchvisionEncoder(nn.Module):
    """Features at strides 1, 2, 4, 8 and 16 of the stem's (2 pixels, or 4 with `stem_stride=4`).

    At `stem_stride=4` the network sees the picture halved in size.
    """

    def __init__(self, name: str, levels: int, stem_stride: int = 2) -> None:
        super().__init__()
        # Seconds to import, and no other network needs it to run.
        from torchvision.models import get_model
        from torchvision.models.feature_extraction import create_feature_extractor

        self.name, self.shrink = name, stem_stride // 2
        nodes = {node: str(i) for i, node in enumerate(NODES[name][:levels])}
        # On a real device in any case: RegNet computes its own widths with tensors.
        with torch.device("cpu"), torch.no_grad():
            self.body: nn.Module = create_feature_extractor(get_model(name, weights=None), nodes)
            features = self.body.eval()(torch.zeros(1, 3, 64, 64))
        self.body.train()
        self.channels: list[int] = [feature.shape[1] for feature in features.values()]

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Normalised RGB -> features, finest first."""
        if self.shrink > 1:
            x_BCHW = F.avg_pool2d(x_BCHW, self.shrink)
        return list(self.body(x_BCHW).values())

    def fold(self) -> None:
        """Put evaluated norms into the convolutions before them."""
        self.body = symbolic_trace(self.body).eval()  # into torchvision's own blocks as well
        merge_pairs(self.body, [nn.BatchNorm2d], fuse_conv_bn_eval)

    def fuse(self) -> None:
        """Make one kernel of each convolution and its activation."""
        merge_pairs(self.body, ACTIVATIONS, FusedConv)
        for name, module in list(self.body.named_modules()):
            if isinstance(module, nn.Conv2d):
                self.body.set_submodule(name, FusedConv(module, nn.Identity()))

    def load_imagenet(self, weights: str) -> None:
        """Take over ImageNet weights: `imagenet` (torchvision fetches them) or the path of its file.

        CheckpointError when they cannot be fetched, or are damaged or of another network.
        """
        state = _fetch(self.name) if weights == "imagenet" else read_state(Path(weights))
        from torchvision.models import get_model

        if set(state) - set(get_model(self.name, weights=None).state_dict()):  # of a larger relative, say
            raise CheckpointError(not_of(self.name, weights))
        mine = self.body.state_dict()
        fitting = {name: tensor for name, tensor in state.items() if name in mine}
        try:
            missing = self.body.load_state_dict(fitting, strict=False).missing_keys
        except RuntimeError as error:  # shapes
            raise CheckpointError(not_of(self.name, weights)) from error
        if [name for name in missing if not name.endswith("num_batches_tracked")]:
            raise CheckpointError(not_of(self.name, weights))


def _fetch(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"The ImageNet weights of {name} cannot be fetched ({error}). Fetch {weights.url} elsewhere, and "
            "pass the file: --encoder-weights PATH."
        ) from error
    return state
