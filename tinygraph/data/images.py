"""Images: one of a file, or a folder of them with one folder a class, read by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .columns import Table, Words
from .opening import opened, reading

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
GREY, COLOURED = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's modes


def is_image(path: Path) -> bool:
    """Return whether a file's name is one of an image."""
    return path.suffix.lower() in SUFFIXES


def read_image(path: Path) -> np.ndarray:
    """Return the pixels of an image, uint8 of shape (height, width), or (height, width, 3) if it has colours.

    Transparency is left out; the first of several images in a file is taken.

    Raises
    ------
    DataError
        If the file is missing, damaged, no image, has other than 8 bits a colour, or is of a size that Pillow refuses.
    """
    from PIL import Image, ImageOps  # for few: kept out of `import tinygraph`

    with reading(path), opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            if image.mode not in GREY + COLOURED:
                raise DataError(f"{path}: expected 8 bits a colour, got an image of mode {image.mode}")
            upright: Any = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("L" if image.mode in GREY else "RGB"))


def as_coloured(pixels: np.ndarray) -> np.ndarray:
    """Return an image in colours, its shades of grey three times."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def images_by_folder(folder: Path) -> Table:
    """Return the images in the folders of `folder` as a table of two columns: "image", and "class", a folder's name.

    Raises
    ------
    DataError
        If there is no folder in it, one is empty or holds something else than images (hidden files aside), or images
        have other sizes than the first.
    """
    with reading(folder):
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not entry.is_dir():
            raise DataError(f"{folder}: expected one folder a class and nothing else, got the file {entry.name}")
    images: list[np.ndarray] = []
    classes: list[str] = []
    first = None
    for entry in entries:
        with reading(entry):
            files = sorted(file for file in entry.iterdir() if not file.name.startswith("."))
        if not files:
            raise DataError(f"{entry}: holds no images; take the folder out, or put some into it")
        for file in files:
            if not is_image(file):
                raise DataError(f"{file}: expected an image, a name ending in {', '.join(SUFFIXES)}; take it out")
            pixels = read_image(file)
            first = first or file
            if images and pixels.shape[:2] != images[0].shape[:2]:
                raise DataError(
                    f"{file}: an image of {_size(pixels)} pixels, but {first} has {_size(images[0])}; give all one size"
                )
            images.append(pixels)
            classes.append(entry.name)
    if not images:
        raise DataError(f"{folder}: holds no folders of images, one for each class")
    if any(pixels.ndim == 3 for pixels in images):
        images = [as_coloured(pixels) for pixels in images]
    return Table(str(folder), {"image": np.stack(images), "class": Words.of(classes)})


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
