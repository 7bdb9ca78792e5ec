"""What the MNIST benchmark fetches is checked before it is used."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from attar import AttarError

FETCH = Path(__file__).parents[1] / "benchmarks" / "mnist" / "fetch.py"


@pytest.fixture
def fetch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mnist_fetch", FETCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(path: Path, names: list[str], *, link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as package:
        for name in names:
            member = tarfile.TarInfo(name)
            if name == link:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                package.addfile(member)
            else:
                member.size = len(name)
                package.addfile(member, io.BytesIO(name.encode()))
    return path


def test_only_the_four_files_are_unpacked(fetch: ModuleType, tmp_path: Path) -> None:
    inside = [f"package/data/{name}" for name in fetch.FILES]
    others = ["../outside", "package/data/../../outside", "package/index.js", "package/data/more"]
    package = archive(tmp_path / "package.tgz", [*others, *inside])
    fetch._unpack(package, tmp_path / "folder")
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == sorted(fetch.FILES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "package.tgz"]


def test_a_link_in_place_of_a_file_is_refused(fetch: ModuleType, tmp_path: Path) -> None:
    inside = [f"package/data/{name}" for name in fetch.FILES]
    package = archive(tmp_path / "package.tgz", inside, link=inside[0])
    with pytest.raises(AttarError, match="is no data file"):
        fetch._unpack(package, tmp_path / "folder")


def test_another_archive_is_refused(fetch: ModuleType, tmp_path: Path) -> None:
    archive(tmp_path / fetch.ARCHIVE, [f"package/data/{name}" for name in fetch.FILES])
    with pytest.raises(AttarError, match=r"must have the SHA-256 8f87f2d0.* Delete it"):
        fetch.mnist(tmp_path)
