"""What fastai's ``vision_learner`` makes, from the configuration: every parameter by its own name."""

from collections.abc import Sequence
from typing import Any

from fastai.callback.core import event
from fastai.vision.all import Learner, ProgressCallback, get_c, noop

from imgclf.data.loaders import Loaders
from imgclf.data.samples import Task
from imgclf.schema import Config
from imgclf.training import augment, batchnorm, ema, network, optimizers, outoffold, plan, precision, probing, speed
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.features import Overhear
from imgclf.training.losses import loss_func
from imgclf.training.micro import MicroBatches
from imgclf.training.plan import Phase
from imgclf.training.probing import FitHead
from imgclf.training.scores import Score
from imgclf.training.watch import SmoothLoss
from imgclf.training.weights import Weights


class OwnEvents(Learner):
    """A Learner that tells a callback only of events it has something to do at.

    fastai asks each one each time, by way of all that the learner and its loaders have: of eight events a step and
    twenty callbacks that is most of what a step costs beside its arithmetic.
    """

    def _call_one(self, event_name: str) -> None:
        if not hasattr(event, event_name):
            raise AttributeError(f"missing {event_name}")
        for cb in self.cbs.sorted("order"):
            if event_name == "after_fit" or hasattr(type(cb), event_name) or event_name in vars(cb):
                cb(event_name)


def build(
    cfg: Config,
    loaders: Loaders,
    arch: Arch,
    weights: Weights,
    scores: dict[str, Score],
    hardware: Hardware,
    task: Task = "single",
) -> tuple[Learner, list[str]]:
    """The learner, its body frozen if pretrained, and notes for the user.

    Normalisation is part of our own DataBlock, with or without pretraining; fastai adds it only with.
    """
    wanted = plan.wants_probe(cfg, weights.pretrained)
    simple = wanted or plan.from_random(cfg, weights.pretrained)
    model, notes = network.build(cfg, arch, weights, loaders.preprocess, get_c(loaders.dls), simple)
    probe = wanted and probing.possible(model, loaders.balance.counts)
    train_bn = cfg.train.train_bn
    learn = OwnEvents(
        loaders.dls,
        model,
        loss_func=loss_func(cfg, list(loaders.dls.vocab), task, loaders.balance.loss_weights),
        opt_func=optimizers.optimizer(cfg, hardware.device),
        splitter=network.splitter,
        metrics=[score.make(task) for score in scores.values()],
        wd=cfg.train.wd,
        wd_bn_bias=cfg.train.wd_bn_bias,
        train_bn=not probe if train_bn == "auto" else train_bn,
        moms=cfg.train.moms,
    )
    if weights.pretrained:
        learn.freeze()
    learn.to(hardware.device)
    learn.remove_cbs(learn.cbs.filter(lambda cb: isinstance(cb, ProgressCallback)))
    learn.logger = noop
    learn.recorder.smooth_loss = SmoothLoss()
    once = not any(phase.epochs_of_steps for phase in plan.schedule(cfg, weights.pretrained, probe)[0])
    exact = precision.validates_as_the_bundle(hardware, once)
    learn.add_cbs([*precision.callbacks(hardware, exact), *augment.callbacks(cfg)])
    # Not `fit_head`: a Learner takes a callback's own name away with the callback, after the fit it was added for.
    learn.probe = FitHead(hardware, loaders.balance) if probe else None
    learn.heard = Overhear(exact)
    keeps = batchnorm.callbacks(cfg, probe)
    learn.add_cbs(keeps)
    MicroBatches(loaders.batch_size, cfg.train.accumulate).install(learn)
    hurried = speed.apply(cfg, learn, hardware, loaders.preprocess.size)
    groups = network.group_names(model)
    stay = plan.staying(cfg, probe, len(groups), loaders.suited.suits_body)
    answers, told = outoffold.callbacks(cfg, learn, probe, body_trains=stay < len(groups) - 1)
    learn.add_cbs(answers)
    if not once:
        told = [*told, *ema.chosen(cfg, probe, loaders.suited.suits_body)[1]]
    return learn, [*notes, *_chosen(model[1], simple, probe, groups[:stay], bool(keeps)), *told, *hurried]


def _chosen(head: Any, simple: bool, probe: bool, staying: Sequence[str], keeps_statistics: bool) -> list[str]:
    """What the recipe made of the layers, with the keys that change it.

    Args:
        simple: Whether the recipe makes the head.
        staying: The layer groups that never train.
    """
    if not simple or getattr(head, "made_by", None) is not None:  # fastai's head, or the user's own
        return []
    layers = ", ".join(type(layer).__name__ for layer in head)
    keys = "(train.recipe: auto, or model.lin_ftrs, ps, concat_pool, first_bn)"
    if not probe:
        return [f"head: {layers} {keys}"]
    what = f"{', '.join(staying)} stay as pretrained, later ones" if staying else "all"
    kept = "keeps its statistics, which the head is made for (train.freeze_bn: auto)"
    return [
        f"head: {layers}, the last one computed {keys}",
        f"layers: {what} train after the probe (train.freeze_to; 0: all)",
        f"BatchNorm: {kept if keeps_statistics else 'follows the batches (train.freeze_bn: false)'}",
    ]


def parameters(learn: Learner, phase: Phase) -> tuple[int, int]:
    """How many parameters train in a phase, and how many there are; leaves the learner frozen as the phase has it."""
    learn.freeze_to(phase.freeze_to)
    # Out-of-fold heads let the head stay as the probe made it.
    stays = learn.out_of_fold.last.parameters() if phase.epochs_of_steps and hasattr(learn, "out_of_fold") else ()
    staying = {id(p) for p in stays}
    counts = [(p.numel(), p.requires_grad and id(p) not in staying) for p in learn.model.parameters()]
    return sum(n for n, trains in counts if trains), sum(n for n, _ in counts)
