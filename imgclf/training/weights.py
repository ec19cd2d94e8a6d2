"""Pretrained weights: a local file, torchvision's cache, or a download; and a clear way out when there are none."""

import argparse
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgclf.data import network
from imgclf.errors import ModelError, first_line
from imgclf.networks import timm_models
from imgclf.schema import Config
from imgclf.training.archs import Arch

COUNTER = "num_batches_tracked"  # of BatchNorm: not a weight, and not in every file
# Of a body's tensors: so many may be missing, or so many more be there, as in files with some head of their own. A file
# for a network of another size has a third and more: many names and shapes are those of both.
STRANGE = 0.1
PREFIXES = ("module.", "model.", "backbone.", "encoder.")


@dataclass(frozen=True)
class Weights:
    """Where the body's weights come from; ``path`` None: random."""

    path: Path | None
    note: str
    loud: bool = False

    @property
    def pretrained(self) -> bool:
        return self.path is not None


def given(cfg: Config) -> Path | None:
    """The file that ``model.weights`` names, if it names one.

    Raises:
        ModelError: if there is none of that name.
    """
    file = cfg.model.weights
    if file is not None and not Path(file).is_file():
        raise ModelError(f"model.weights: no such file: {file}", "`imgclf archs` says where published weights are")
    return None if file is None else Path(file)


def resolve(cfg: Config, arch: Arch) -> Weights:
    """Find the weights the configuration asks for.

    Raises:
        ModelError: if they are wanted and cannot be had; the message names the file, its URL and the ways out.
    """
    file, wanted = given(cfg), cfg.model.pretrained
    if file is not None:
        return Weights(file, f"weights from {file}")
    if wanted is False:
        return Weights(None, "random weights, as asked (model.pretrained: false)")
    if not arch.weights_url:
        return _unpublished(arch, wanted == "auto")
    cached = cache_path(arch)
    if cached.is_file():
        return Weights(cached, f"ImageNet weights {cached}")
    problem = "the configuration says offline" if network.forbidden(cfg) else _download(arch, cached)
    if problem is None:
        cached = cache_path(arch)  # the hub's place depends on the version fetched
        return Weights(cached, f"ImageNet weights downloaded to {cached}")
    if wanted == "auto":
        return Weights(
            None,
            f"NOT PRETRAINED: {arch.weights_file} is not at {cached} and cannot be had ({problem}); "
            f"training {arch.name} from random weights (model.pretrained: auto)",
            loud=True,
        )
    raise ModelError(
        f"the ImageNet weights of {arch.name} are not here: {arch.weights_file}\n"
        f"  looked for: {cached}\n"
        f"  from: {arch.weights_url}\n"
        f"  not downloaded: {problem}",
        f"use a file you have (--set model.weights=FILE), or put {arch.weights_file} into {cached.parent}, "
        "or train without them (--set model.pretrained=false)",
    )


def _unpublished(arch: Arch, random_will_do: bool) -> Weights:
    """Of some of timm's architectures there are none."""
    problem = f"no weights of {arch.name} have been published"
    if random_will_do:
        text = f"NOT PRETRAINED: {problem}; training from random weights (model.pretrained: auto)"
        return Weights(None, text, loud=True)
    raise ModelError(
        f"model.pretrained: {problem}",
        "use a file you have (--set model.weights=FILE), or another architecture (`imgclf archs`), or train without "
        "them (--set model.pretrained=false)",
    )


def cache_path(arch: Arch) -> Path:
    """Where the library itself keeps the file: torchvision in ``$TORCH_HOME/hub/checkpoints``, timm with its hub."""
    if arch.hub is None:
        return Path(torch.hub.get_dir()) / "checkpoints" / arch.weights_file
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(arch.hub, arch.weights_file)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{arch.hub.replace('/', '--')}"
    return Path(found) if isinstance(found, str) else folder / arch.weights_file


def load_into(model: nn.Module, weights: Weights, arch: Arch, channels: int = 3) -> str:
    """Load the weights into a model, whose classifier may differ or be missing, and say what matched.

    Accepts state dicts of whole models or of bodies, plain or below ``state_dict``/``model``, with the usual prefixes.
    If no name is known, but all shapes and the last part of every name are those of the model, in its order, the
    tensors are taken by their position: files of other libraries name the same layers otherwise.

    Args:
        arch: Of the model.
        channels: Of the model; the weights are for three.

    Raises:
        ModelError: if the file cannot be read without running code, or is for another network. The model is as before.
    """
    assert weights.path is not None
    found = tensors(read(weights.path))
    own = model.state_dict()
    body = [name for name in own if not name.startswith("fc.")] if arch.library == "torchvision" else list(own)
    how = ""
    if not any(name in found for name in body):
        ordered = not _is_safetensors(weights.path)  # which sorts its tensors
        renamed = _by_position(found, _reference(arch), body) if ordered else None
        if renamed:
            found, how = renamed, f" by position, as the names differ ({next(iter(found))} is {next(iter(renamed))})"
    if arch.library == "timm":
        found = timm_models.for_channels(found, arch.name, channels)
    fits = {k: v for k, v in found.items() if k in own and v.shape == own[k].shape}
    needed = [k for k in body if not k.endswith(COUNTER)]
    missing = [k for k in needed if k not in fits]
    if len(missing) == len(needed) or not fits:
        example = next(iter(found), "nothing")
        raise ModelError(
            f"{weights.path}: none of its {len(found)} tensors fits {arch.name} (the first is '{example}')",
            "are these weights of another architecture? set model.arch to the one they belong to; tensors of other "
            "names are matched by their order, which a .pth file keeps and a .safetensors file does not",
        )
    replaced = set(_reference(arch)) - set(body)
    unused = [k for k in found if k not in fits and k not in replaced]
    parts = {k.partition(".")[0] for k in body}
    more = [k for k in unused if k.partition(".")[0] in parts and not k.endswith(COUNTER)]
    lacking = [] if arch.cut else missing  # a body that is cut may come from a file without the rest
    if max(len(lacking), len(more)) > STRANGE * len(needed):
        raise ModelError(
            f"the weights {weights.path} are not those of {arch.name}: of its {len(needed)} tensors {len(lacking)} are "
            f"missing, and there are {len(more)} more",
            "set model.arch to the architecture they belong to",
        )
    model.load_state_dict(fits, strict=False)
    return f"weights: {len(fits)} tensors loaded{how}" + _list("missing", missing) + _list("not used", unused)


def _reference(arch: Arch) -> dict[str, torch.Size]:
    """The tensors of the whole model, in order, with their shapes; no memory is taken for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in arch.build().state_dict().items()}


def _by_position(found: dict[str, Tensor], whole: dict[str, torch.Size], body: list[str]) -> dict[str, Tensor] | None:
    """The tensors under the model's names, if their number and order, shapes and last name parts are its own.

    Those of the classifier, which is replaced anyway, may have another shape.
    """
    given = {k: v for k, v in found.items() if not k.endswith(COUNTER)}
    for names in ([n for n in whole if not n.endswith(COUNTER)], [n for n in body if not n.endswith(COUNTER)]):
        pairs = list(zip(names, given.items(), strict=False))
        if len(names) == len(given) and all(
            name.rsplit(".", 1)[-1] == old.rsplit(".", 1)[-1] and (v.shape == whole.get(name) or name not in body)
            for name, (old, v) in pairs
        ):
            return {name: v for name, (_, v) in pairs}
    return None


def _list(what: str, names: list[str]) -> str:
    return f"; {len(names)} {what}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""


def _is_safetensors(path: Path) -> bool:
    return path.suffix.lower() == ".safetensors"


def read(path: Path) -> dict[str, Any]:
    """What a ``.pth`` or ``.safetensors`` file holds, read without running code.

    Raises:
        ModelError: if that cannot be done.
    """
    try:
        if _is_safetensors(path):
            from safetensors.torch import load_file

            return dict(load_file(path))
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values, in checkpoints of timm's train.py
            return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as e:  # torch's reader of plain tensors lets anything through on damaged files
        raise ModelError(
            f"cannot read the weights {path}: {first_line(e)}",
            "it should be a state dict saved by torch.save, or a .safetensors file; a half-downloaded file is best "
            "deleted and fetched again",
        ) from e


def tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """The state dict in what ``read`` found, without the usual prefixes."""
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    found = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    for prefix in PREFIXES:
        if found and all(k.startswith(prefix) for k in found):
            found = {k[len(prefix) :]: v for k, v in found.items()}
    return found


def _download(arch: Arch, target: Path) -> str | None:
    """Fetch the file; the reason in words if that fails."""
    try:
        with network.short_timeout():
            _from_hub(arch) if arch.hub else _from_url(arch, target)
    # URLErrors, time-outs and the hub's own are OSErrors; torch raises a RuntimeError for a wrong hash.
    except (OSError, HTTPException, RuntimeError) as e:
        return first_line(getattr(e, "reason", e))
    return None


def _from_url(arch: Arch, target: Path) -> None:
    """Checked against the hash in the file's name; torch renames its temporary file only when that is right."""
    expected = re.search(r"-([0-9a-f]{8,})\.", arch.weights_file)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = expected.group(1) if expected else None
    torch.hub.download_url_to_file(arch.weights_url, str(target), hash_prefix=prefix, progress=False)


def _from_hub(arch: Arch) -> None:
    """As timm itself does; the hub's client compares the size and writes whole files only."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    hf_hub_download(str(arch.hub), arch.weights_file)
