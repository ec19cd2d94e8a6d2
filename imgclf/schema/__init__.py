"""The configuration: every key, its type, its default and what it does.

The descriptions are the documentation: ``imgclf config init`` writes them as comments. Configuration is frozen after
loading, unknown keys are errors, and each leaf is read in exactly one place of the code (a test counts).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeGuard, get_origin

from pydantic import Field

from imgclf.schema.augment import AugmentConfig
from imgclf.schema.data import DataConfig
from imgclf.schema.model import ModelConfig
from imgclf.schema.section import Bool, Section
from imgclf.schema.train import TrainConfig

__all__ = ["AugmentConfig", "Config", "DataConfig", "ModelConfig", "Section", "TrainConfig", "flat", "leaves"]


class Config(Section):
    """One run, completely described."""

    version: Literal[1] = Field(1, description="of this file's format")
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = Field(
        42, description="the same seed, data and configuration give the same split, and on a CPU the same model"
    )
    offline: Bool = Field(False, description="never use the network, not even for pretrained weights")
    data: DataConfig = Field(description="where the images are, how they are labelled and split")
    augment: AugmentConfig = Field(AugmentConfig(), description="presizing and augmentation")
    model: ModelConfig = Field(ModelConfig(), description="the network")
    train: TrainConfig = Field(TrainConfig(), description="how it is fitted")


def _is_section(kind: Any) -> TypeGuard[type[Section]]:
    # On Python 3.10 `list[str]` is an instance of `type`, and issubclass() refuses it.
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Section)


def leaves(section: type[Section] = Config, prefix: str = "") -> dict[str, str]:
    """Every leaf's dotted key and its description, in the schema's order."""
    found: dict[str, str] = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if _is_section(kind):
            found |= leaves(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.description or ""
    return found


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as plain values by dotted key. A leaf may be a mapping: ``train.class_weights``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= {f"{key}.{name}": leaf for name, leaf in value.items()} if isinstance(value, dict) else {key: value}
    return found
