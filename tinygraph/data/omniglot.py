"""Omniglot: handwritten characters of thirty alphabets, each drawn once by twenty people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .arrays import read_npz
from .checks import check_labels
from .dataset import Center, Dataset, Facts, Part
from .downloads import Download
from .files import locate, present

FILE = Download("omniglot_background.npz")
SIZE, BLOCK = 105, 5
ALPHABETS, CHARACTERS, DRAWERS = 30, 964, 20


def load_omniglot(data_dir: str | Path | None = None, center: Center = False) -> Dataset:
    """Return Omniglot's background set: 19,280 images of 964 characters, every fifth alphabet for testing.

    No character is in both parts: 24 alphabets with 731 characters are for training, 6 with 233 for testing. A
    pixel of the 21 x 21 is the part of a block of 5 x 5 that is ink, so images of 105 x 105 lose no ink. The file
    read is ``omniglot_background.npz``, with the arrays `images` (19280, 105, 14), rows of bits packed into bytes,
    `alphabet`, `character` and `character_names`; there is no address to download it from.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    path = locate("omniglot", _find, ("omniglot",), (FILE,), data_dir)
    names = ("images", "alphabet", "character", "character_names")
    with read_npz(path) as arrays:
        packed, alphabet, character, characters = (arrays[name] for name in names)
        class_names = tuple(str(name) for name in characters.reshape(-1))  # fails where a code is no character
    n, shape = CHARACTERS * DRAWERS, (SIZE, -(-SIZE // 8))
    if packed.dtype != np.uint8 or packed.shape != (n, *shape) or characters.shape != (CHARACTERS,):
        raise DataError(f"{path}: damaged: images {packed.dtype} {packed.shape}, names {characters.shape}")
    alphabet = check_labels(alphabet, ALPHABETS, f"{path}: alphabet")
    character = check_labels(character, CHARACTERS, f"{path}: character")
    if len(alphabet) != n or len(character) != n:
        raise DataError(f"{path}: damaged: {n} images, {len(alphabet)} alphabets, {len(character)} characters")
    test = alphabet % 5 == 4
    if np.intersect1d(character[test], character[~test]).size:
        raise DataError(f"{path}: damaged: a character belongs to several alphabets")
    facts = Facts(
        name="omniglot",
        class_names=class_names,
        source="Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic program "
        "induction, Science 350, 2015",
        licence="MIT",
        sizes=(14_620, 4_660),
        largest=BLOCK**2,
    )
    images = _ink_by_block(packed)
    train, held_out = (Part(images[rows], character[rows], path, path) for rows in (~test, test))
    return facts.dataset(train, held_out, center)


def _find(folder: Path) -> Path | None:
    path = folder / FILE.file
    return path if present(path) else None


def _ink_by_block(packed: np.ndarray) -> np.ndarray:
    """Return how many bits of each block are 1, uint8 of shape (n, 21, 21)."""
    bits = np.unpackbits(packed, axis=2, count=SIZE)
    n, k = len(bits), SIZE // BLOCK
    rows = bits.reshape(n, k, BLOCK, SIZE).sum(axis=2, dtype=np.uint8)
    counts: np.ndarray = rows.reshape(n, k, k, BLOCK).sum(axis=3, dtype=np.uint8)
    return counts
