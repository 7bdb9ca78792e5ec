"""Crops of real photographs: scikit-learn's two, and eight that come with scikit-image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from bytes_a_row import packages
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn import functional as F

SIZE = 224
PACKAGE = "scikit-image==0.25.2"
SHA256 = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}


def photographs(cache: Path) -> list[Tensor]:
    """Each ``[3, H, W]``, 0 to 255."""
    path = packages.wheel(cache, PACKAGE)
    arrays = list(load_sample_images().images)
    for name, sha256 in SHA256.items():
        data = packages.member(path, f"skimage/data/{name}", sha256)
        arrays.append(np.array(Image.open(io.BytesIO(data)).convert("RGB")))
    return [torch.tensor(array).permute(2, 0, 1).float() for array in arrays]


def crops(cache: Path, count: int, seed: int) -> Tensor:
    """``[count, 3, 224, 224]`` in [-1, 1]: the photographs in turn, squares of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    images = photographs(cache)
    found = []
    for number in range(count):
        image = images[number % len(images)][None] / 127.5 - 1.0
        height, width = image.shape[2:]
        share, down, across = torch.rand(3, generator=generator).tolist()
        side = int(96 + share * (min(height, width) - 96))
        top, left = int(down * (height - side)), int(across * (width - side))
        part = image[:, :, top : top + side, left : left + side]
        found.append(F.interpolate(part, (SIZE, SIZE), mode="bilinear", antialias=True))
    return torch.cat(found)
