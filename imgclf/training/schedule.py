"""Begin a phase anywhere within it: what is left of a fit, at the very learning rates and momenta of the whole."""

from fastai.vision.all import Callback

from imgclf.data.loaders import train_at


class StartAt(Callback):
    """Let a fit of the remaining epochs count, and so schedule, as the whole phase does.

    fastai's ``start_epoch`` skips through the epochs before and leaves them in ``recorder.values`` as empty rows, on
    which its trackers fail; ``fit_flat_cos`` ignores it. Here only the epochs left are fitted, and the position is set
    to what it would be: ``ParamScheduler`` then evaluates any curve where it should, to the last bit.

    Args:
        epoch: The first epoch to fit, from 0.
        epochs: Of the whole phase.
        batch: The first batch of that epoch, from 0.
    """

    order = -105  # before all that looks at the epoch: seeds, and fastai's own counters at -10

    def __init__(self, epoch: int, epochs: int, batch: int = 0) -> None:
        self.first, self.epochs, self.batch = epoch, epochs, batch
        self.position = Position(self)

    def before_epoch(self) -> None:
        if self.epoch > 0:
            self.batch = 0
        self.learn.epoch, self.learn.n_epoch = self.first + self.epoch, self.epochs

    def before_batch(self) -> None:
        if self.training:
            self.learn.iter = self.batch + self.iter


class Resize(Callback):
    """Progressive resizing: the training images of each epoch at its own size; none given: as the loaders make them."""

    order = -104  # after StartAt has said which epoch it is

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def before_epoch(self) -> None:
        if self.sizes:
            train_at(self.dls, self.sizes[self.epoch])


class Position(Callback):
    """The second half of ``StartAt``: advance fastai's position over the batches already done."""

    order = -9  # after TrainEvalCallback has set it to the epoch's beginning

    def __init__(self, start: StartAt) -> None:
        self.start = start

    def before_train(self) -> None:
        n_iter = len(self.dls.train)
        for _ in range(self.start.batch):  # adding up as fastai does gives the same number; multiplying would not
            self.learn.pct_train += 1.0 / (n_iter * self.n_epoch)
            self.learn.train_iter += 1
