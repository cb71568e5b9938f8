from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from scdrug.datasets import _fetch, _http, fetch

CONTENT = b"line,drug,value\n" + b"A549,erlotinib,2.5\n" * 5000


def files_of(cache: Path) -> list[str]:
    """Everything in the cache but locks, which stay on some platforms."""
    return sorted(
        str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and ".locks" not in str(path)
    )


def test_a_file_is_fetched_once_and_then_served_from_the_cache(server, cache, register):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    path = fetch("screen/table.csv")
    assert path == cache / "screen" / "table.csv"
    assert path.read_bytes() == CONTENT
    assert fetch("screen/table.csv") == path
    assert server.requests == ["/table.csv"]
    assert files_of(cache) == ["screen/table.csv"]


def test_size_is_said_before_the_download(server, cache, register, caplog):
    register(server.add("table.csv", CONTENT), content=CONTENT, size=len(CONTENT))
    with caplog.at_level(logging.INFO, logger="scdrug"):
        fetch("screen")
    assert "95 kB" in caplog.text


def test_force_downloads_again(server, cache, register):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    fetch("screen")
    fetch("screen", force=True)
    assert len(server.requests) == 2


def test_an_interrupted_download_is_tried_again(server, cache, register):
    register(server.add("table.csv", CONTENT, "cut", "broken", "ok"), content=CONTENT)
    assert fetch("screen").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_an_interrupted_download_of_an_unverified_file_is_not_taken_for_whole(server, cache, register):
    register(server.add("table.csv", CONTENT, "cut", "ok"))
    with pytest.warns(UserWarning, match="pinned"):
        assert fetch("screen").read_bytes() == CONTENT


def test_a_download_that_never_succeeds_leaves_nothing(server, cache, register):
    url = server.add("table.csv", CONTENT, "cut")
    register(url, content=CONTENT)
    with pytest.raises(RuntimeError, match="could not be downloaded") as error:
        fetch("screen")
    assert url in str(error.value)
    assert f"place it at {cache / 'screen' / 'table.csv'}." in str(error.value)
    assert files_of(cache) == []


def test_corrupted_bytes_are_refused(server, cache, register):
    register(server.add("table.csv", CONTENT, "corrupt"), content=CONTENT)
    with pytest.raises(RuntimeError, match="sha256 of what came is .* expected"):
        fetch("screen")
    assert files_of(cache) == []


def test_a_missing_file_is_not_asked_for_again_but_its_mirror_is(server, cache, register):
    mirror = server.add("mirror.csv", CONTENT)
    register(f"http://127.0.0.1:{server.port}/gone.csv", mirror, content=CONTENT)
    assert fetch("screen").read_bytes() == CONTENT
    assert server.requests == ["/gone.csv", "/mirror.csv"]


def test_a_damaged_cached_file_is_replaced(server, cache, register):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    path = fetch("screen")
    path.write_bytes(CONTENT[:100])
    assert fetch("screen").read_bytes() == CONTENT


def test_a_damaged_cached_file_stays_when_the_download_fails(server, cache, register):
    register(server.add("table.csv", CONTENT, "ok", "broken"), content=CONTENT)
    path = fetch("screen")
    path.write_bytes(b"mine")
    with pytest.raises(RuntimeError, match="503"):
        fetch("screen")
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_says_where_to_get_the_file_and_where_to_put_it(server, cache, register, monkeypatch, how):
    url = server.add("table.csv", CONTENT)
    entry = register(url, content=CONTENT)
    if how == "environment":
        monkeypatch.setenv("SCDRUG_OFFLINE", "1")
    with pytest.raises(RuntimeError, match="not cached") as error:
        fetch("screen", offline=how == "argument")
    for part in (url, str(cache / "screen" / "table.csv"), entry.sha256):
        assert part in str(error.value)
    assert server.requests == []


def test_offline_serves_what_is_cached_and_refuses_what_is_damaged(server, cache, register):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    path = fetch("screen")
    assert fetch("screen", offline=True) == path
    path.write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match="damaged or of another version"):
        fetch("screen", offline=True)
    assert len(server.requests) == 1


def test_an_unverified_file_is_pinned_with_a_warning_and_then_silent(server, cache, register, recwarn):
    register(server.add("table.csv", CONTENT))
    with pytest.warns(UserWarning, match="no trusted hash") as caught:
        fetch("screen")
    assert caught[0].filename == __file__
    pins = json.loads((cache / "pinned.json").read_text())
    assert pins == {"screen/table.csv": hashlib.sha256(CONTENT).hexdigest()}
    recwarn.clear()
    fetch("screen")
    assert not recwarn.list
    assert files_of(cache) == ["pinned.json", "screen/table.csv"]


def test_a_later_difference_of_an_unverified_file_is_an_error(server, cache, register):
    register(server.add("table.csv", CONTENT))
    with pytest.warns(UserWarning, match="pinned"):
        path = fetch("screen")
    server.add("table.csv", CONTENT + b"changed")
    with pytest.raises(RuntimeError, match="what the server sent now"):
        fetch("screen", force=True)
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"edited")
    with pytest.raises(RuntimeError, match="not what it was"):
        fetch("screen")
    assert path.read_bytes() == b"edited"


def test_a_file_placed_by_hand_is_taken(server, cache, register):
    register(note="Ask the authors.")
    with pytest.raises(RuntimeError, match="Ask the authors"):
        fetch("screen")
    (cache / "screen").mkdir(parents=True, exist_ok=True)
    (cache / "screen" / "table.csv").write_bytes(CONTENT)
    with pytest.warns(UserWarning, match="by hand"):
        assert fetch("screen", offline=True).read_bytes() == CONTENT
    assert fetch("screen", force=True).read_bytes() == CONTENT


def test_a_full_disk_during_the_download_leaves_no_half_file(server, cache, register, monkeypatch):
    def write_half(url, file, **_):
        file.write(CONTENT[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    register(server.add("table.csv", CONTENT), content=CONTENT)
    monkeypatch.setattr(_fetch, "download", write_half)
    with pytest.raises(OSError, match="No space left on device.*SCDRUG_DATA_DIR") as error:
        fetch("screen")
    assert error.value.errno == errno.ENOSPC
    assert files_of(cache) == []


LOGIN = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


@pytest.mark.parametrize(
    ("file", "sent", "size", "said"),
    [
        ("table.csv", LOGIN, None, "web page"),
        ("table.csv", LOGIN, len(CONTENT), "expected 95,016"),
        ("table.csv", LOGIN.ljust(len(CONTENT)), len(CONTENT), "web page"),
        ("table.csv", CONTENT[:5000], len(CONTENT), "5,000 bytes, expected 95,016"),
        ("table.csv", CONTENT * 2, len(CONTENT), "expected 95,016"),
        ("table.csv", b"", None, "an empty file came"),
        ("table.csv", b"\x00\x01" * 50, None, "binary data"),
        ("table.xlsx", CONTENT, None, "text came, expected an Excel workbook"),
        ("cells.h5ad", b'{"error": "quota"}', None, "expected an HDF5 file"),
        ("table.txt.gz", CONTENT, None, "expected a gzip archive"),
    ],
)
def test_what_is_not_the_file_is_neither_taken_nor_pinned(file, sent, size, said, server, cache, register):
    register(server.add(file, sent), size=size, file=file)
    with pytest.raises(RuntimeError, match=said):
        fetch("screen")
    assert files_of(cache) == []


def test_half_a_file_of_unknown_length_is_refused_when_the_size_is_known(server, cache, register):
    mirror = server.add("mirror.csv", CONTENT)
    register(server.add("table.csv", CONTENT[:5000]), mirror, size=len(CONTENT))
    with pytest.warns(UserWarning, match="pinned"):
        assert fetch("screen").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_body_without_end_stops_at_a_bound(size, server, cache, register, monkeypatch):
    monkeypatch.setattr(_http, "MAX_BYTES", 1_000_000)
    register(server.add("table.csv", CONTENT, "endless"), size=size)
    with pytest.raises(RuntimeError, match="more than the .* bytes"):
        fetch("screen")
    assert len(server.requests) == 1
    assert files_of(cache) == []


def test_a_server_that_drips_is_given_up(server, cache, register, monkeypatch):
    monkeypatch.setattr(_http, "_WINDOW_SECONDS", 0.3)
    mirror = server.add("mirror.csv", CONTENT)
    register(server.add("table.csv", CONTENT, "drip"), mirror, content=CONTENT)
    assert fetch("screen").read_bytes() == CONTENT
    assert server.requests == ["/table.csv", "/mirror.csv"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"screen/table.csv": 3}', b"\xff\xfe\x00"])
def test_a_damaged_list_of_pins_is_set_aside(damage, server, cache, register, caplog):
    cache.mkdir()
    (cache / "pinned.json").write_bytes(damage)
    register(server.add("table.csv", CONTENT))
    with pytest.warns(UserWarning, match="pinned"):
        fetch("screen")
    assert "is damaged" in caplog.text
    assert json.loads((cache / "pinned.json").read_text()) == {"screen/table.csv": hashlib.sha256(CONTENT).hexdigest()}
    assert (cache / "pinned.json.damaged").read_bytes() == damage
    assert files_of(cache) == ["pinned.json", "pinned.json.damaged", "screen/table.csv"]


def test_a_failure_to_put_the_file_in_place_leaves_the_old_one(server, cache, register, monkeypatch):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    path = fetch("screen")
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        fetch("screen")
    assert path.read_bytes() == b"old"
    assert files_of(cache) == ["screen/table.csv"]


def test_a_disk_that_is_too_small_is_noticed_before_the_download(server, cache, register, monkeypatch):
    register(server.add("table.csv", CONTENT), content=CONTENT, size=len(CONTENT))
    usage = shutil.disk_usage(tempfile.gettempdir())._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="needs 95 kB.* has 10 B left"):
        fetch("screen")
    assert server.requests == []


def test_a_read_only_cache_is_an_error_that_names_it(server, cache, register, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    register(server.add("table.csv", CONTENT), content=CONTENT)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match="cannot be written") as error:
        fetch("screen")
    assert str(cache) in str(error.value)


def test_a_cached_file_needs_no_right_to_write(server, cache, register, monkeypatch):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    path = fetch("screen")

    def refuse(*_, **__):
        raise AssertionError("the cache was locked")

    monkeypatch.setattr(_fetch, "_locked", refuse)
    assert fetch("screen") == path


def test_the_leftover_of_a_killed_download_is_removed(server, cache, register):
    register(server.add("table.csv", CONTENT), content=CONTENT)
    (cache / "screen").mkdir(parents=True)
    (cache / "screen" / ".part-table.csv-abc").write_bytes(b"half")
    fetch("screen")
    assert files_of(cache) == ["screen/table.csv"]


def test_two_processes_fetch_the_same_file_once(server, cache, register, tmp_path):
    url = server.add("table.csv", CONTENT, "slow")
    script = tmp_path / "fetch_it.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import scdrug
            from scdrug.datasets import _fetch
            from scdrug.datasets._registry import FileEntry

            scdrug.settings.progress = False
            entry = FileEntry("screen", "table.csv", ({url!r},), {hashlib.sha256(CONTENT).hexdigest()!r}, None, False, "")
            _fetch.find_files = lambda _: (entry,)
            assert _fetch.fetch("screen").stat().st_size == {len(CONTENT)}
            """
        )
    )
    workers = [subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    assert server.requests == ["/table.csv"]
    assert files_of(cache) == ["screen/table.csv"]


def test_an_unknown_name_offers_the_nearest(cache):
    with pytest.raises(KeyError, match="sc_mixology"):
        fetch("sc_mixolgy")
