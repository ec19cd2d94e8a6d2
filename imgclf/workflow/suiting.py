"""Choose what suits the images before a run begins at the probe, which is asked: framing, mirroring, what trains."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from imgclf.console import Terminal
from imgclf.data import loaders, presize
from imgclf.data.loaders import Loaders
from imgclf.data.suited import Suited
from imgclf.schema import Config
from imgclf.training import faults, framing, looking, mirroring, plan
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.weights import Weights


def recorded(began: dict[str, Any]) -> Suited:
    """What is known of a run by its manifest; of one from before there was a choice, that it had the usual."""
    if "crop_pct" not in began:
        return Suited()
    return Suited(began["crop_pct"], began.get("flip", True), began.get("familiar", True))


def record(made: Loaders) -> dict[str, Any]:
    """The same for a manifest."""
    return {**vars(made.suited), "crop_pct": made.preprocess.crop_pct}


def choose(
    cfg: Config,
    known: Suited,
    passing: int,
    arch: Arch,
    found: Weights,
    hardware: Hardware,
    build: Callable[[Suited], Loaders],
    terminal: Terminal,
) -> tuple[Suited, list[str]]:
    """What suits the images where keys are auto, and what to tell of it; nothing new where there is no probe to ask.

    Args:
        known: Of the run so far.
        passing: Images of all training steps together; 0: there are none, and so no images that are mirrored.
        build: Makes the loaders.
    """
    if not plan.wants_probe(cfg, found.pretrained):
        return known, []
    given = loaders.given_crop_pct(cfg) is not None or loaders.resize_rule(cfg) != "crop"
    shares = framing.candidates(loaders.sides(cfg)[0], arch.input_size)
    frames = not given and known.crop_pct is None and len(shares) > 1
    mirrors = passing > 0 and known.flip is None and presize.given_flip(cfg) is None
    asks = known.familiar is None and looking.has_stages(arch)
    if not (frames or mirrors or asks):
        return known, []
    ways = {share: build(Suited(share)) for share in (shares if frames else [known.crop_pct or 1.0])}
    share, first = next(iter(ways.items()))
    body = looking.through(cfg, arch, found, hardware, first.preprocess)
    passes = len(looking.of(first)) * (len(ways) + mirrors)
    suited, notes = known, list[str]()
    with faults.explained(first.workers, None), terminal.progress("a look at the images", passes) as step:
        looks = looking.held_together({s: looking.look(body, way, hardware, step) for s, way in ways.items()})
        if frames and (tried := looking.losses(looks)):
            share, notes = framing.told(tried)
            if (judged := looks[share].familiarity(passing)) and judged[0] is not True:
                share, notes = framing.told(tried, framing.MORE_CLEARLY)
            suited = replace(suited, crop_pct=share)
        seen = looks[share]
        if mirrors:
            mirrored = looking.look(body, ways[share], hardware, step, mirrored=True)
            if answered := mirroring.losses(seen, mirrored):
                flip, told = mirroring.told(*answered)
                suited, notes = replace(suited, flip=flip), [*notes, *told]
        if asks and (judged := seen.familiarity(passing)):
            familiar, told = judged
            suited, notes = replace(suited, familiar=familiar), [*notes, *told]
            if passing and not suited.suits_body and presize.given_p_affine(cfg) is None:
                notes.append("augmentation: images are not turned, zoomed or warped (augment.p_affine: auto)")
    return suited, notes
