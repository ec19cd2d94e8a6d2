"""The model as one ``.safetensors`` file: weights, with the whole record in its metadata."""

from pathlib import Path

from imgclf.shipping import bundle as bundles


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it; what ``bundle.load`` reads back. No code is run, ``trust`` or not.

    Raises:
        ModelError: if the bundle cannot be read.
    """
    return bundles.write(target, *bundles.read(bundle))
