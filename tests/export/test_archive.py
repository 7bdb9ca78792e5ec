"""Folders and zips from strangers: what leaves its folder, lies or swells is refused."""

from __future__ import annotations

import os
import stat
import struct
import zipfile

import pytest

from attar.checks import AttarError
from attar.export import archive
from attar.export.archive import is_plain, open_files, write_folder, write_zip

FILES = {"bundle.json": b"{}", "model.onnx": bytes(range(256)) * 8, "deep/er/x.txt": b"\0" * 5000}


@pytest.fixture(params=["x.zip", "x"])
def written(request, tmp_path):
    path = tmp_path / request.param
    write = write_zip if path.suffix else write_folder
    write("test", path, FILES)
    return path


def test_what_was_written_is_read(written):
    found = open_files(written)
    for name, data in FILES.items():
        assert found.read(name, most=len(data)) == data
    assert found.read("model.onnx", most=10) == FILES["model.onnx"][:11]  # one more than asked for
    assert found.read("model.onn", most=10) is None
    assert found.read("deep/er", most=10) is None
    assert found.unexpected(set(FILES)) is None
    assert [path.name for path in written.parent.iterdir()] == [written.name]  # no scraps


def test_the_same_files_give_the_same_zip(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip("test", tmp_path / name, FILES)
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        assert zipped.testzip() is None
        assert {stat.filemode(info.external_attr >> 16) for info in zipped.infolist()} == {
            "-rw-r--r--"
        }


def test_a_folder_that_is_there_is_not_overwritten_and_an_empty_one_is_filled(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(AttarError, match=f"{name} exists already and is not overwritten"):
            write_folder("test", tmp_path / name, FILES)
    (tmp_path / "empty").mkdir()
    write_folder("test", tmp_path / "empty", FILES)
    assert (tmp_path / "empty" / "deep" / "er" / "x.txt").read_bytes() == FILES["deep/er/x.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_a_folder_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write, name in ((write_folder, "x"), (write_zip, "x.zip")):
        with pytest.raises(OSError, match="No space"):
            write("test", tmp_path / name, FILES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../../x", "/etc/passwd", "C:/x", "C:x", "a\\b", "..", ".", "", "a//b", "a/", "/",
        ".hidden", "a/.git/config", "a\0b", "ü", "a b", "~root", "-rf", "x\n", "a" * 201, "a/./b",
        "\\\\host\\share",
    ],
)  # fmt: skip
def test_paths_that_could_leave_the_folder_are_not_plain(path, tmp_path):
    assert not is_plain(path)
    if path == "a/":
        return  # in a zip this is a folder, see below
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("bundle.json", "{}")
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = path  # ZipInfo itself would make some of them tame
        zipped.writestr(info, "x")
    # On the way back zipfile may tame it again (a name ends at NUL): the raw name is looked at.
    with pytest.raises(AttarError, match=r"x\.zip: this zip is refused: the path .* is not one"):
        open_files(tmp_path / "x.zip")


@pytest.mark.parametrize("path", ["x", "model.onnx", "a/b-c_d.e/f", "_x", "README.md", "1/model.x"])
def test_plain_paths(path):
    assert is_plain(path)


def zip_of(tmp_path, *members, compression=zipfile.ZIP_DEFLATED):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", compression) as zipped:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = compression
            zipped.writestr(info, data)
    return path


def test_links_and_devices_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR):
        path = zip_of(tmp_path, ("bundle.json", "/etc/passwd", kind | 0o777))
        with pytest.raises(AttarError, match=r"bundle\.json is a link or no plain file"):
            open_files(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["model.onnx", "Model.ONNX"])
def test_a_name_given_twice_is_refused(tmp_path, again):
    path = zip_of(tmp_path, ("model.onnx", "one", 0), (again, "two", 0))
    with pytest.raises(AttarError, match=f"it has {again} twice"):
        open_files(path)


def test_folders_in_a_zip_are_no_trouble_and_other_packings_are(tmp_path):
    path = zip_of(tmp_path, ("deep/", "", stat.S_IFDIR | 0o755), ("deep/x", "text", 0o644))
    assert open_files(path).read("deep/x", most=10) == b"text"
    path = zip_of(tmp_path, ("x", "text", 0), compression=zipfile.ZIP_BZIP2)
    with pytest.raises(AttarError, match="packed in a way that is not read"):
        open_files(path)
    path = zip_of(tmp_path, *[(f"x{i}", "", 0) for i in range(1001)])
    with pytest.raises(AttarError, match="1,001 files"):
        open_files(path)


def test_what_swells_is_refused_while_it_is_read(tmp_path, monkeypatch):
    read = []
    counted = archive.Zip._count
    monkeypatch.setattr(
        archive.Zip, "_count", lambda self, size: (read.append(size), counted(self, size))
    )
    path = zip_of(tmp_path, ("zeros", b"\0" * 64 * 2**20, 0))
    assert path.stat().st_size < 2**17
    with pytest.raises(AttarError, match="unpacks to more than 100 times its own size"):
        open_files(path).read("zeros", most=2**40)
    assert sum(read) < 8 * 2**20  # and not after it all was there
    # Up to a MiB anything goes: a small file may shrink as far as it can.
    path = zip_of(tmp_path, ("zeros", b"\0" * 2**20, 0))
    assert len(open_files(path).read("zeros", most=2**40)) == 2**20
    # Many small files together are one swelling.
    path = zip_of(tmp_path, *[(f"x{i}", b"\0" * 2**19, 0) for i in range(40)])
    found = open_files(path)
    with pytest.raises(AttarError, match="100 times"):
        _ = [found.read(f"x{i}", most=2**19) for i in range(40)]


def test_what_shrinks_too_well_is_written_so_that_it_can_be_read(tmp_path):
    zeros = {"model.onnx": bytes(4 * 2**20), "README.md": b"x"}  # a student of zeros
    write_zip("test", tmp_path / "x.zip", zeros)
    found = open_files(tmp_path / "x.zip")
    assert found.read("model.onnx", most=2**30) == zeros["model.onnx"]


def test_the_absolute_bound_counts_what_comes_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 2**20)
    path = zip_of(tmp_path, ("noise", os.urandom(3 * 2**20), 0))
    with pytest.raises(AttarError, match="or to more than"):
        open_files(path).read("noise", most=2**40)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_was_asked_for(tmp_path):
    path = zip_of(tmp_path, ("x", b"\0" * 5000, 0))
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + place
        assert struct.unpack_from("<I", data, at) == (5000,)
        struct.pack_into("<I", data, at, 10)
    path.write_bytes(data)
    with pytest.raises(AttarError, match="x cannot be unpacked: Bad CRC"):
        open_files(path).read("x", most=2**40)


def test_what_is_no_zip_or_only_a_part_of_one(tmp_path):
    write_zip("test", tmp_path / "x.zip", FILES)
    whole = (tmp_path / "x.zip").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(AttarError, match=r"cut\.zip cannot be read as a zip.*copy it again"):
            open_files(tmp_path / "cut.zip")
    with pytest.raises(AttarError, match=r"no\.zip cannot be read as a zip: No such file"):
        open_files(tmp_path / "no.zip")


def test_a_flipped_byte_never_passes_unseen(tmp_path):
    write_zip("test", tmp_path / "x.zip", FILES)
    whole = (tmp_path / "x.zip").read_bytes()
    for place in range(0, len(whole), 3):
        broken = bytearray(whole)
        broken[place] ^= 0x41
        (tmp_path / "b.zip").write_bytes(broken)
        try:
            found = open_files(tmp_path / "b.zip")
            got = {name: found.read(name, most=2**20) for name in FILES}
        except AttarError:
            continue
        # Names, dates and flags may change; contents that are given are the right ones.
        assert all(data in (None, FILES[name]) for name, data in got.items())


def test_links_that_leave_a_folder_are_refused_and_others_followed(tmp_path):
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "x"
    write_folder("test", folder, FILES)
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "in").symlink_to(folder / "model.onnx")
    found = open_files(folder)
    with pytest.raises(AttarError, match=r"out is a link that leaves the folder.*cp -rL"):
        found.read("out", most=100)
    assert found.read("in", most=2**20) == FILES["model.onnx"]
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(AttarError, match="leaves the folder"):
        found.read("linked/outside", most=100)
    os.mkfifo(folder / "pipe")
    assert found.read("pipe", most=100) is None  # and it is not waited for
