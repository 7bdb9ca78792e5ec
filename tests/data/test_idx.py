from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from attar.checks import AttarError
from attar.data import idx


def packed(array: np.ndarray, *, kind: int = 8, sizes: tuple[int, ...] | None = None) -> bytes:
    sizes = array.shape if sizes is None else sizes
    header = bytes([0, 0, kind, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    return header + array.astype(np.uint8).tobytes()


PICTURES = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_read_as_they_were_written(tmp_path, suffix):
    wrap = gzip.compress if suffix else bytes
    (tmp_path / f"images{suffix}").write_bytes(wrap(packed(PICTURES)))
    (tmp_path / f"labels{suffix}").write_bytes(wrap(packed(np.array([1, 0]))))
    data = idx(tmp_path / f"images{suffix}", str(tmp_path / f"labels{suffix}"))
    assert np.array_equal(data.inputs.numpy(), PICTURES[:, None].astype(np.uint8))
    assert (data.labels.tolist(), data.classes) == ([1, 0], ("0", "1"))
    named = idx(tmp_path / f"images{suffix}", tmp_path / f"labels{suffix}", classes=("no", "yes"))
    assert named.classes == ("no", "yes")
    further = idx(tmp_path / f"images{suffix}", tmp_path / f"labels{suffix}", first_row=60_000)
    assert further.rows.tolist() == [60_000, 60_001]
    assert idx(tmp_path / f"images{suffix}").labels is None


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (packed(PICTURES)[:-1], r"24 bytes after its header.*only 23"),
        (packed(PICTURES) + b"x", r"24 bytes after its header.*holds more"),
        (packed(PICTURES)[:10], "begin with the bytes 00 00 08 03.*a whole header"),
        (b"", "begins with nothing"),
        (packed(np.array([1, 0])), "begins with 00 00 08 01"),
        (packed(PICTURES, kind=0x0D), "begins with 00 00 0d 03"),
        (packed(PICTURES, sizes=(0, 3, 4)), r"holds nothing.*\(0, 3, 4\)"),
        # A header that lies must not make room for what it claims.
        (packed(PICTURES, sizes=(2**32 - 1,) * 3), "holds only 24"),
        (b"PK\x03\x04 not idx at all", "begins with 50 4b 03 04"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_broken_file_is_refused_by_name(tmp_path, contents, message, suffix):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(contents) if suffix else contents)
    with pytest.raises(AttarError, match=rf"images{suffix}.*{message}"):
        idx(path)


def test_a_broken_gzip_is_refused(tmp_path):
    whole = gzip.compress(packed(PICTURES))
    wrong = bytearray(whole)
    wrong[-6] ^= 255  # the checksum
    for name, contents in (("cut.gz", whole[:-9]), ("wrong.gz", wrong), ("no.gz", b"not gzip")):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(AttarError, match=f"{name} cannot be read"):
            idx(tmp_path / name)


def test_a_small_gzip_that_holds_a_lot_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(packed(PICTURES))
        for _ in range(50):
            file.write(bytes(2**20))
    with pytest.raises(AttarError, match="holds more"):
        idx(path)


def test_images_and_labels_must_belong_together(tmp_path):
    (tmp_path / "images").write_bytes(packed(PICTURES))
    (tmp_path / "labels").write_bytes(packed(np.array([1, 0, 1])))
    with pytest.raises(AttarError, match=r"2 images and .* 3 labels"):
        idx(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(AttarError, match=r"absent cannot be read"):
        idx(tmp_path / "absent")
    (tmp_path / "labels").write_bytes(packed(np.array([1, 2])))
    with pytest.raises(AttarError, match="label 2, which is not among"):
        idx(tmp_path / "images", tmp_path / "labels", classes=("no", "yes"))
