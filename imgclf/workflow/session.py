"""From a configuration to a learner that is ready to fit: shared by training, lr finder and rehearsal."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from imgclf import ranks
from imgclf.console import Terminal
from imgclf.data import loaders
from imgclf.data.inspection import FileCheck
from imgclf.data.loaders import Loaders
from imgclf.data.prepare import Prepared, prepare
from imgclf.data.split import Dataset
from imgclf.data.suited import Suited
from imgclf.runs import Run
from imgclf.schema import Config
from imgclf.training import (
    archs,
    devices,
    faults,
    learner,
    lr,
    optimizers,
    plan,
    plan_view,
    recipe_lr,
    scores,
    seeding,
    weights,
)
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.fit import run_phase
from imgclf.training.lr import Found
from imgclf.training.plan import Phase, Plan
from imgclf.training.scores import Score
from imgclf.training.weights import Weights
from imgclf.workflow import suiting, together


@dataclass
class Session:
    """Everything one fit needs.

    ``decisions`` are what was chosen for the user, each with its reason and the key that decides otherwise.
    """

    cfg: Config
    data: Prepared
    loaders: Loaders
    arch: Arch
    weights: Weights
    hardware: Hardware
    scores: dict[str, Score]
    learn: Any
    terminal: Terminal
    decisions: list[str]

    @property
    def probe(self) -> bool:
        """Whether the run begins with the probe: the recipe wants it, head and data allow it."""
        return self.learn.probe is not None

    @property
    def familiar(self) -> bool:
        """Whether the body's last layers suit the images, as far as is known."""
        return self.loaders.suited.suits_body

    @property
    def _phases(self) -> list[Phase]:
        return plan.schedule(self.cfg, self.weights.pretrained, self.probe, self.familiar)[0]

    @property
    def takes_steps(self) -> bool:
        """Whether anything is trained in steps: the probe alone is not."""
        return any(phase.epochs_of_steps for phase in self._phases)

    @property
    def given_lr(self) -> float | None:
        """The configured learning rate, of stages the highest; None: to be found."""
        phases = self._phases
        wanted = self.cfg.train.lr
        if phases[0].lrs:
            return max(max(phase.lrs) for phase in phases)
        return None if wanted == "auto" else wanted

    @property
    def finds_unfrozen(self) -> bool:
        """Whether the rate after the probe has to be found: the recipe's is Adam's."""
        return self.probe and self.given_lr is None and not optimizers.is_adam(self.learn.opt_func)

    @property
    def recipe_lr(self) -> tuple[float, str] | None:
        """The recipe's own learning rate, and why it is that; None: it has none, a rate has to be found."""
        if self.probe:
            passing = _passing(self.data.dataset, self._phases)
            head_trains = not hasattr(self.learn, "out_of_fold")
            images = self.loaders.batch_size * ranks.world()
            rate, what = recipe_lr.after_probe(images, passing, head_trains, self.loaders.suited.familiar)
            later = "; it is Adam's: for train.opt one is looked for after the probe" if self.finds_unfrozen else ""
            return rate, f"{what} (train.recipe: auto){later}"
        adam, resnet = optimizers.is_adam(self.learn.opt_func), self.arch.library == "torchvision"
        if adam and resnet and plan.from_random(self.cfg, self.weights.pretrained):
            return recipe_lr.RANDOM, "for a ResNet from random weights (train.recipe: auto)"
        return None

    @property
    def lr_is_known(self) -> bool:
        """Whether the learning rate needs no finder: it is given, or the recipe's."""
        return self.given_lr is not None or self.recipe_lr is not None

    def explained(self, run: Run | None = None) -> AbstractContextManager[None]:
        """Within the block, what the machine is to blame for is an error that says so."""
        return faults.explained(self.loaders.workers, f"imgclf train --resume {run.path}" if run else None)

    def find_lr(self) -> Found:
        """Run the learning-rate finder; the learner is unchanged afterwards."""
        # Found on the state training starts from: frozen if anything is pretrained, as the book does.
        phases = self._phases
        self.learn.freeze_to(phases[0].freeze_to)
        with self.terminal.progress("learning-rate finder", lr.STEPS) as step:
            return self._sweep(phases[0], "lr_find", step)

    def find_unfrozen_lr(self, first: float, done: Callable[[], object] = lambda: None) -> Found:
        """Run the finder on a learner whose frozen phase is over, and that has been unfrozen.

        No progress display: that of a run may be open.

        Args:
            first: The rate of the frozen phase; half of it, as fine_tune takes, is used where nothing can be found.
            done: Called after each step; true: end the sweep there.
        """
        return self._sweep(self._phases[-1], "lr_find_unfrozen", done, first / 2, lr.SANE_UNFROZEN)

    def _sweep(self, phase: Phase, place: str, *settings: Any) -> Found:
        """The finder on images of the size that the phase begins with."""
        if phase.sizes:
            loaders.train_at(self.learn.dls, phase.sizes[0])
            self.terminal.note(f"learning-rate finder: at {phase.sizes[0]} pixels, as the first epoch")
        with self.explained():
            found = lr.find(self.learn, [seeding.SeedEpochs(self.cfg, place)], lr.STEPS, lr.RANGE, *settings)
        for note in found.notes:
            self.terminal.note(note)
        return found

    def first_phase(self, phase: Phase) -> None:
        """Train a plan's first phase as a run would, and keep nothing of it but the learner."""
        self.learn.freeze_to(phase.freeze_to)
        self.learn.model.zero_grad(set_to_none=True)
        run_phase(self.learn, phase, [seeding.SeedEpochs(self.cfg, phase.name)])

    def plan(self, highest_lr: float, unfrozen: float | None = None) -> Plan:
        """The phases for a highest learning rate, and for one found for the unfrozen phase."""
        return plan.build(
            self.cfg,
            pretrained=self.weights.pretrained,
            lr=highest_lr,
            n_groups=len(self.learn.splitter(self.learn.model)),
            batches_per_epoch=len(self.loaders.dls.train),
            unfrozen=unfrozen,
            probe=self.probe,
            find=self.finds_unfrozen,
            familiar=self.familiar,
        )

    def announce(self) -> None:
        """Tell what will be trained on what, before the first batch."""
        data, dls = self.data.dataset, self.loaders
        self.terminal.show(
            plan_view.facts(
                classes=data.classes,
                n_train=len(data.train),
                n_valid=len(data.valid),
                batch_size=dls.batch_size,
                processes=ranks.world(),
                batches=len(dls.dls.train),
                workers=dls.workers,
                preprocess=dls.preprocess,
                arch=self.arch.name,
                pretrained=self.weights.pretrained,
                device=str(self.hardware.device),
                precision=f"{self.hardware.precision} ({self.hardware.reason})",
            )
        )

    def announce_plan(self, made: Plan) -> None:
        """Tell the phases, their steps and learning rates."""
        counts = [learner.parameters(self.learn, phase) for phase in made.phases]
        self.terminal.note(f"plan: {made.reason}")
        self.terminal.show(plan_view.phases(made, counts))


def start(
    cfg: Config,
    terminal: Terminal,
    data: Prepared | None = None,
    began: dict[str, Any] | None = None,
    to_train: bool = False,
    going_on: Sequence[Phase] = (),
) -> Session:
    """Prepare data, weights, loaders and learner. Cheap failures come first.

    Args:
        began: The manifest of the run, which knows the precision it began in and what its model sees, if it did.
        to_train: Whether a run follows: what only its model depends on is chosen too, which takes passes over images.
        going_on: The phases of the run so far, with those it is extended by.

    Raises:
        UserError: of the kind that fits, before anything is trained.
    """
    hardware = devices.resolve(cfg)
    arch = archs.resolve(cfg)
    with together.first_on_machine():
        data = data or prepare(cfg, terminal)
    chosen = scores.metrics(cfg, len(data.dataset.classes), data.dataset.task)
    found = weights.resolve(cfg, arch)
    terminal.warn(found.note) if found.loud else terminal.note(f"model: {arch.name}, {found.note}")
    seeding.seed(cfg, "build")
    stats = (arch.mean, arch.std) if found.pretrained else loaders.IMAGENET
    about_size = arch.check(loaders.preprocess_record(cfg), found.pretrained)
    phases, _ = plan.schedule(cfg, found.pretrained, plan.wants_probe(cfg, found.pretrained))
    smallest = min((loaders.sides(cfg)[0], *(size for phase in phases for size in phase.sizes)))
    hardware = _settled(hardware, smallest, began or {})

    def build(suited: Suited, checks: Sequence[FileCheck] = ()) -> Loaders:
        return loaders.build(cfg, data.dataset, hardware.device, found.pretrained, stats, checks, suited)

    suited, told = together.from_first(lambda: suiting.recorded(began or {})), list[str]()
    if to_train:
        passing = _passing(data.dataset, going_on or phases)
        suited, told = suiting.choose(cfg, suited, passing, arch, found, hardware, build, terminal)
    made = build(suited, data.checks)
    learn, notes = learner.build(cfg, made, arch, found, chosen, hardware, data.dataset.task)
    learn.micro_batches.warn = terminal.warn
    if learn.probe:
        learn.probe.found = terminal.note
    decisions = [*made.notes, *about_size, *told, *notes]
    for note in decisions:
        terminal.note(note)
    if made.warning:
        terminal.warn(made.warning)
    learn.add_cb(loaders.TellTrouble(terminal.warn))
    learn.add_cbs(together.callbacks(hardware.device))
    return Session(cfg, data, made, arch, found, hardware, chosen, learn, terminal, decisions)


def _passing(dataset: Dataset, phases: Sequence[Phase]) -> int:
    """Images of all training steps together."""
    return len(dataset.train) * sum(phase.epochs_of_steps for phase in phases)


def _settled(hardware: Hardware, smallest: int, began: dict[str, Any]) -> Hardware:
    """The hardware with its precision: that of the run so far, else the best here; of several processes the first's."""
    same = str(began.get("device", "")).partition(":")[0] == hardware.device.type
    before = began.get("precision") if same else None
    found = together.from_first(lambda: devices.settled(hardware, smallest, before))
    return replace(hardware, precision=found.precision, reason=found.reason)
