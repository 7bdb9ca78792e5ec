from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from attar.checks import AttarError
from attar.data import images


def save(path, pixels, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)


GREY = [[0, 50, 100], [150, 200, 255]]
COLOUR = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]]


def test_a_subfolder_is_a_class_and_files_are_in_order(tmp_path):
    save(tmp_path / "dog" / "b.png", GREY)
    save(tmp_path / "dog" / "a.png", np.flip(GREY))
    save(tmp_path / "cat" / "z.PNG", np.zeros((2, 3)))
    (tmp_path / ".hidden").write_text("left aside")
    (tmp_path / "dog" / "Thumbs.db").write_text("left aside")
    data = images(tmp_path)
    assert data.inputs.dtype.itemsize == 1
    assert data.inputs[:, 0].tolist() == [[[0] * 3] * 2, np.flip(GREY).tolist(), GREY]
    assert (data.labels.tolist(), data.classes) == ([0, 1, 1], ("cat", "dog"))
    assert images(tmp_path, classes=["dog", "cat"]).labels.tolist() == [1, 0, 0]
    assert images(tmp_path, first_row=7).rows.tolist() == [7, 8, 9]
    with pytest.raises(AttarError, match="'cat', which is not among"):
        images(tmp_path, classes=["dog", "cow"])


def test_colour_in_one_image_makes_all_coloured(tmp_path):
    save(tmp_path / "a" / "0.png", COLOUR)
    save(tmp_path / "a" / "1.png", GREY)
    data = images(tmp_path)
    assert data.inputs.shape == (2, 3, 2, 3)
    assert data.inputs[0].permute(1, 2, 0).tolist() == COLOUR
    assert data.inputs[1].tolist() == [GREY] * 3


def test_images_without_subfolders_are_unlabelled(tmp_path):
    save(tmp_path / "0.png", GREY)
    data = images(tmp_path)
    assert data.labels is None
    assert data.inputs.shape == (1, 1, 2, 3)


def test_an_image_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    save(tmp_path / "0.png", GREY, exif=exif)
    assert images(tmp_path).inputs[0, 0].tolist() == np.rot90(GREY, -1).tolist()


def test_other_sizes_are_refused_or_resized(tmp_path):
    save(tmp_path / "0.png", GREY)
    save(tmp_path / "1.png", np.full((4, 4), 9))
    with pytest.raises(AttarError, match=r"1.png is 4 x 4 .*0.png is 2 x 3.*size="):
        images(tmp_path)
    data = images(tmp_path, size=(4, 5))
    assert data.inputs.shape == (2, 1, 4, 5)
    assert data.inputs[1].unique().tolist() == [9]
    assert images(tmp_path, size=8).inputs.shape == (2, 1, 8, 8)
    for size in (0, (4,), (4, 0), 2.5, (4, 5.0)):
        with pytest.raises((AttarError), match="size"):
            images(tmp_path, size=size)


def png(width: int, height: int, contents: bytes) -> bytes:
    """A grey PNG that says that it has this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", contents) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 30_000])
def test_an_image_too_large_to_unpack_is_refused(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png(side, side, zlib.compress(bytes(1000))))
    with pytest.raises(AttarError, match=r"bomb.png says that it has more than 67108864 pixels"):
        images(tmp_path, size=8)


@pytest.mark.parametrize("keep", [0, 10, 40, 60])
def test_a_broken_image_is_named(tmp_path, keep):
    save(tmp_path / "a" / "good.png", np.arange(400).reshape(20, 20) % 256)
    whole = (tmp_path / "a" / "good.png").read_bytes()
    (tmp_path / "a" / "torn.png").write_bytes(whole[:keep])
    with pytest.raises(AttarError, match=r"torn.png cannot be read as a picture"):
        images(tmp_path)


def test_text_under_the_name_of_an_image_and_other_formats_are_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    with pytest.raises(AttarError, match=r"a.png cannot be read"):
        images(tmp_path)
    path.unlink()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(AttarError, match=r"notes.txt is not an image by its name.*\.png"):
        images(tmp_path)


def test_sixteen_bits_are_not_cut_off_in_silence(tmp_path):
    Image.fromarray(np.full((2, 2), 1000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(AttarError, match=r"deep.png has more than 8 bits"):
        images(tmp_path)


def test_links_that_lead_out_are_refused_and_those_inside_are_not(tmp_path):
    save(tmp_path / "outside" / "secret.png", GREY)
    root = tmp_path / "root"
    save(root / "a" / "0.png", GREY)
    (root / "a" / "1.png").symlink_to(root / "a" / "0.png")
    assert len(images(root)) == 2
    (root / "a" / "2.png").symlink_to(tmp_path / "outside" / "secret.png")
    with pytest.raises(AttarError, match=r"2.png is a link that leads out"):
        images(root)
    (root / "a" / "2.png").unlink()
    (root / "b").symlink_to(tmp_path / "outside")
    with pytest.raises(AttarError, match=r"b is a link that leads out"):
        images(root)
    (tmp_path / "door").symlink_to(root)  # the folder itself may be a link
    (root / "b").unlink()
    assert len(images(tmp_path / "door")) == 2


def test_folders_of_another_form_are_refused(tmp_path):
    with pytest.raises(AttarError, match=r"is empty. Expected a subfolder"):
        images(tmp_path)
    with pytest.raises(AttarError, match="is not a folder"):
        images(tmp_path / "absent")
    (tmp_path / "a").mkdir()
    with pytest.raises(AttarError, match=r"class folder .*a is empty"):
        images(tmp_path)
    save(tmp_path / "a" / "deeper" / "0.png", GREY)
    with pytest.raises(AttarError, match="one level deep"):
        images(tmp_path)
    save(tmp_path / "0.png", GREY)
    with pytest.raises(AttarError, match=r"files beside its subfolders, 0.png"):
        images(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "0.png")
    with pytest.raises(AttarError, match="expected an image file at"):
        images(tmp_path)
