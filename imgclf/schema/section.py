"""What every section of the configuration is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Bool = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class Section(BaseModel):
    """A part of the configuration: frozen, and no key but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
