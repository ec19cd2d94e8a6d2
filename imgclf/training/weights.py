"""Pretrained weights: a local file, torchvision's cache, or a download; and a clear way out when there are none."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgclf.data import network
from imgclf.errors import ModelError
from imgclf.schema import Config
from imgclf.training.archs import Arch

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


def resolve(cfg: Config, arch: Arch) -> Weights:
    """Find the weights the configuration asks for.

    Raises:
        ModelError: if they are wanted and cannot be had; the message names the file, its URL and the ways out.
    """
    file, wanted = cfg.model.weights, cfg.model.pretrained
    if file is not None:
        if not Path(file).is_file():
            raise ModelError(f"model.weights: no such file: {file}")
        return Weights(Path(file), f"weights from {file}")
    if wanted is False:
        return Weights(None, "random weights, as asked (model.pretrained: false)")
    cached = cache_path(arch)
    if cached.is_file():
        return Weights(cached, f"ImageNet weights {cached}")
    problem = "the configuration says offline" if network.forbidden(cfg) else _download(arch, cached)
    if problem is None:
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


def cache_path(arch: Arch) -> Path:
    """Where torchvision itself keeps the file: ``$TORCH_HOME/hub/checkpoints``."""
    return Path(torch.hub.get_dir()) / "checkpoints" / arch.weights_file


def load_into(model: nn.Module, weights: Weights) -> str:
    """Load the weights into a torchvision model (its classifier may differ) and say what matched.

    Accepts state dicts of whole models or of bodies, plain or below ``state_dict``/``model``, with the usual prefixes.

    Raises:
        ModelError: if the file cannot be read without running code, or nothing in it matches.
    """
    assert weights.path is not None
    found = _strip(_read(weights.path))
    own = model.state_dict()
    fits = {k: v for k, v in found.items() if k in own and v.shape == own[k].shape}
    body = [k for k in own if not k.startswith("fc.")]
    missing = [k for k in body if k not in fits and not k.endswith("num_batches_tracked")]
    if len(missing) == len(body) or not fits:
        example = next(iter(found), "nothing")
        raise ModelError(
            f"{weights.path}: none of its {len(found)} tensors fits this architecture (the first is '{example}')",
            "are these weights of another architecture? set model.arch to the one they belong to",
        )
    model.load_state_dict(fits, strict=False)
    unused = [k for k in found if k not in fits and not k.startswith("fc.")]
    return f"{len(fits)} tensors loaded" + _list("missing", missing) + _list("not used", unused)


def _list(what: str, names: list[str]) -> str:
    return f"; {len(names)} {what}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as e:
        raise ModelError(
            f"cannot read the weights {path}: {str(e).splitlines()[0] if str(e) else type(e).__name__}",
            "it should be a state dict saved by torch.save, or a .safetensors file; a half-downloaded file is best "
            "deleted and fetched again",
        ) from e
    except Exception as e:
        if type(e).__name__ != "SafetensorError":
            raise
        raise ModelError(f"cannot read the weights {path}: {e}") from e


def _strip(state: dict[str, Any]) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    for prefix in PREFIXES:
        if tensors and all(k.startswith(prefix) for k in tensors):
            tensors = {k[len(prefix) :]: v for k, v in tensors.items()}
    return tensors


def _download(arch: Arch, target: Path) -> str | None:
    """Fetch the file, checked against the hash in its name; the reason in words if that fails."""
    expected = arch.weights_file.rsplit("-", 1)[-1].split(".")[0]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with network.short_timeout():
            # torch writes to a temporary file and renames it only when the hash is right.
            torch.hub.download_url_to_file(arch.weights_url, str(target), hash_prefix=expected, progress=False)
    except (
        OSError,
        RuntimeError,
    ) as e:  # URLError and time-outs are OSErrors; a wrong hash is a RuntimeError
        return str(getattr(e, "reason", e)) or type(e).__name__
    return None
