"""Pictures as Pillow reads them -> uint8 arrays, with an eye on hostile files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, need

#: Formats without a program behind them (EPS would start Ghostscript).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

#: Pixels beyond which a picture is refused before it is unpacked (8192 x 8192).
MOST_PIXELS = 2**26

_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def open_picture(path: Path) -> Any:
    """A Pillow image whose header is read and found sound; its pixels are not unpacked yet.

    Raises:
        AttarError: If it is no picture that Pillow can read, or larger than :data:`MOST_PIXELS`.
    """
    pillow = need("PIL.Image", extra="train", purpose="reading images")
    try:
        image = pillow.open(path, formats=FORMATS)
    except pillow.DecompressionBombError:
        raise _too_large(path) from None
    except Exception as error:  # a broken file makes a decoder fail in any way
        raise _broken(path, error) from error
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise _too_large(path)
    return image


def mode_of(image: Any, name: str) -> str:
    """``"L"`` where a picture is grey, ``"RGB"`` where it has colours; transparency is dropped."""
    if image.mode in _GREY:
        return "L"
    if image.mode in _COLOUR:
        return "RGB"
    raise AttarError(
        f"images: {name} has more than 8 bits a pixel (mode {image.mode}), which would be cut "
        f"off. Convert it to 8 bits, or give its values as an array to as_data."
    )


def pixels(image: Any, mode: str, size: tuple[int, int] | None, name: str) -> NDArray[np.uint8]:
    """The picture ``[C, H, W]``, upright, in this mode, resized where a size (H, W) is given.

    Raises:
        AttarError: If the file breaks off or cannot be unpacked.
    """
    pillow = need("PIL.Image", extra="train", purpose="reading images")
    operations = need("PIL.ImageOps", extra="train", purpose="reading images")
    try:
        upright = operations.exif_transpose(image).convert(mode)
        if size is not None and upright.size != size[::-1]:
            upright = upright.resize(size[::-1], pillow.Resampling.BILINEAR)
    except Exception as error:  # as above
        raise _broken(name, error) from error
    array = np.array(upright, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _broken(name: Any, error: Exception) -> AttarError:
    return AttarError(
        f"images: {name} cannot be read as a picture ({error}). Repair it, or take it out."
    )


def _too_large(path: Path) -> AttarError:
    return AttarError(
        f"images: {path} says that it has more than {MOST_PIXELS} pixels, too large to unpack. "
        f"Make it smaller, or take it out."
    )
