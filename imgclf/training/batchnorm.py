"""BatchNorm that keeps the statistics of its pretraining while everything else trains."""

from fastai.vision.all import Callback, get_model
from torch.nn.modules.batchnorm import _BatchNorm

from imgclf.schema import Config


class KeepStatistics(Callback):
    """Leave the BatchNorm layers of the body in evaluation mode; their weight and bias still train.

    fastai's ``BnFreeze`` does so only for layers that do not train at all.
    """

    order = -9  # after TrainEvalCallback has put the model into training mode

    def before_train(self) -> None:
        for layer in get_model(self.model)[0].modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()


def callbacks(cfg: Config, probe: bool) -> list[Callback]:
    """``train.freeze_bn``, if it is so; ``auto`` is where the head begins at the ``probe``.

    The probe was fitted to features made with those statistics. Those of small batches would undo it in the first step.
    """
    wanted = cfg.train.freeze_bn
    return [KeepStatistics()] if (probe if wanted == "auto" else wanted) else []
