"""Copies at an address: made once for each state of a file, never half, read like the file itself."""

import os

import fsspec
import pytest

from hivemind_utils.tables import copies


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.rm("/", recursive=True) if files.ls("/") else None
    return files


@pytest.fixture(params=["memory://bucket/mine", "file"])
def address(request, tmp_path, memory):
    return f"file://{tmp_path}/elsewhere/mine" if request.param == "file" else request.param


def listed(address):
    files, place = fsspec.core.url_to_fs(address)
    return sorted(name.rpartition("/")[2] for name in files.find(place))


def test_a_copy_is_read_at_any_place_and_made_once(tmp_path, address):
    path = tmp_path / "table.parquet"
    path.write_bytes(bytes(range(200)))
    target = copies.put(path, address)
    with copies.opened(target) as file, copies.opened(path) as here:
        for k in (150, 3):
            file.seek(k), here.seek(k)
            assert file.read(20) == here.read(20) == bytes(range(k, k + 20))
    assert copies.put(path, f"{address}/") == target and len(listed(address)) == 1


def test_a_file_written_anew_gets_another_copy(tmp_path, address):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"first")
    first = copies.put(path, address)
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    second = copies.put(path, address)
    assert first != second and copies.opened(first).read() == b"first" and copies.opened(second).read() == b"other"


def test_a_copy_that_broke_off_is_not_taken_for_one(tmp_path, address, monkeypatch):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"x" * 1000)
    files, _ = fsspec.core.url_to_fs(address)

    def half(self, source, target, **options):
        self.pipe_file(target, b"x" * 10)
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(type(files), "put_file", half)
        with pytest.raises(OSError, match=r"table.parquet cannot be copied to .*ConnectionError: the line went dead"):
            copies.put(path, address)
    assert all(name.endswith(".part") for name in listed(address))
    assert copies.opened(copies.put(path, address)).read() == b"x" * 1000


def test_what_cannot_be_reached_says_so(tmp_path, address):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"x")
    copy = copies.put(path, address)
    files, place = fsspec.core.url_to_fs(copy)
    files.rm(place)
    with pytest.raises(FileNotFoundError, match=r"is gone\. Run again: it is made anew"):
        copies.opened(copy)
    with pytest.raises(OSError, match=r"nowhere:.*cannot be reached|cannot be copied to nowhere://"):
        copies.put(path, "nowhere://bucket")
