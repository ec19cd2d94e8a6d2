"""Where imgclf keeps what it can make again."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """``$IMGCLF_CACHE``, else the system's cache folder for users."""
    chosen = os.environ.get("IMGCLF_CACHE")
    return Path(chosen) if chosen else user_cache_path("imgclf", appauthor=False)
