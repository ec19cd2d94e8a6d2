"""What a person would write with fastai alone, as the reference for imgclf's figures. Prints the final error rate.

    TORCH_HOME=… python scripts/reference_fastai.py FOLDER SEED [EPOCHS] [SIZE] [BATCH_SIZE]

FOLDER holds train/ and val/ with class folders. The weights come from torchvision's cache, as always in fastai.
"""

import sys

from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    aug_transforms,
    error_rate,
    resnet18,
    set_seed,
    vision_learner,
)


def main(folder: str, seed: int, epochs: int = 3, size: int = 224, batch_size: int = 64) -> None:
    set_seed(seed)
    dls = ImageDataLoaders.from_folder(
        folder, valid="val", bs=batch_size, num_workers=2, item_tfms=Resize(460),
        batch_tfms=aug_transforms(size=size, min_scale=0.75),
    )  # fmt: skip
    learn = vision_learner(dls, resnet18, metrics=error_rate)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(epochs)
    print(float(learn.recorder.values[-1][-1]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
