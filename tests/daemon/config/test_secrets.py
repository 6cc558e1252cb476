"""A secret is read from a file nobody else can read, and never said aloud."""

from __future__ import annotations

import os
import traceback

import pytest

from tilltap.config.secrets import SecretError, exposure, load_secret

KEY = "sk_live_0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def secret_file(path, content=KEY + "\n", mode=0o600):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def refused(name, base_dir):
    with pytest.raises(SecretError) as caught:
        load_secret(name, base_dir)
    error = caught.value
    assert KEY not in "".join(traceback.format_exception(error))
    assert error.exit_code == 3
    assert error.lines == (f"{error.what} ({error.hint})",)
    return error.lines[0]


@pytest.mark.parametrize("content", [KEY, KEY + "\n", KEY + "\r\n", f"  {KEY} \n\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_reads_one_line(tmp_path, content, mode):
    secret_file(tmp_path / "p.key", content, mode)
    assert load_secret("p.key", tmp_path) == KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o666])
def test_any_bit_for_others_is_refused_with_the_remedy(tmp_path, mode):
    path = secret_file(tmp_path / "p.key", mode=mode)
    assert (
        refused("p.key", tmp_path) == f"{path}: others may use it, its mode is {mode:04o} (chmod 600 {path})"
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty (put the key in it, on one line)"),
        (" \n\n", "is empty (put the key in it, on one line)"),
        (f"{KEY}\nsecond\n", "has more than one line (put the key in it and nothing else)"),
        (f"{KEY}\rsecond\n", "has more than one line (put the key in it and nothing else)"),
        (f"{KEY} x", "holds characters that no key has (put the key in it as plain text, nothing else)"),
        (f"{KEY}\x00", "holds characters that no key has (put the key in it as plain text, nothing else)"),
        (f"\ufeff{KEY}", "holds characters that no key has (put the key in it as plain text, nothing else)"),
        (b"\xff\xfe", "holds characters that no key has (put the key in it as plain text, nothing else)"),
        (KEY * 200, "is larger than 4096 bytes (is it the right file?)"),
    ],
)
def test_content_that_is_no_key(tmp_path, content, what):
    path = secret_file(tmp_path / "p.key", content)
    assert refused("p.key", tmp_path) == f"{path}: {what}"


def test_not_there(tmp_path):
    expected = f"{tmp_path}/p.key: no such file (put the key in it, on one line, and chmod 600 it)"
    assert refused("p.key", tmp_path) == expected


def test_a_key_written_where_its_file_s_name_belongs_is_not_repeated(tmp_path):
    with pytest.raises(SecretError) as caught:
        load_secret(KEY * 2, tmp_path)
    assert KEY not in str(caught.value)
    assert str(tmp_path / "sk_l...") in str(caught.value)


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("d", "pipe", "."):
        assert "is not a file (name a file that holds the key" in refused(name, tmp_path)


def test_a_symlink_is_judged_by_what_is_behind_it(tmp_path):
    secret_file(tmp_path / "good")
    secret_file(tmp_path / "open", mode=0o644)
    for name in ("good", "open", "nowhere", "loop"):
        (tmp_path / f"to-{name}").symlink_to(f"to-{name}" if name == "loop" else name)
    assert load_secret("to-good", tmp_path) == KEY
    assert f"others may use it, its mode is 0644 (chmod 600 {tmp_path}/to-open)" in refused(
        "to-open", tmp_path
    )
    assert "no such file" in refused("to-nowhere", tmp_path)
    assert "cannot be read: Too many levels" in refused("to-loop", tmp_path)


def test_a_bare_name_is_looked_up_in_the_credentials_first(tmp_path, monkeypatch):
    credentials, folder = tmp_path / "credentials", tmp_path / "etc"
    credentials.mkdir()
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    secret_file(folder / "p.key", "beside")
    assert load_secret("p.key", folder) == "beside"
    # systemd shares credentials by ACL, which shows as a group bit: there the mode is its business.
    secret_file(credentials / "p.key", "credential", 0o440)
    assert load_secret("p.key", folder) == "credential"
    assert load_secret("./p.key", folder) == "beside"
    assert load_secret(str(folder / "p.key"), tmp_path) == "beside"


def test_paths_begin_at_the_file_s_folder(tmp_path):
    (tmp_path / "a").mkdir()
    secret_file(tmp_path / "a" / "p.key")
    secret_file(tmp_path / "q.key", "other")
    assert load_secret("a/p.key", tmp_path) == KEY
    assert load_secret("../q.key", tmp_path / "a") == "other"


def test_the_owner_is_root_or_who_reads(tmp_path):
    status = secret_file(tmp_path / "p.key").stat()
    owner = status.st_uid

    def owned_by(uid):
        return os.stat_result((*status[:4], uid, *status[5:]))

    assert exposure(owned_by(1000), 1000) is None
    assert exposure(owned_by(0), 1000) is None
    assert exposure(owned_by(1001), 1000) == ("belongs to user 1001", "chown 1000")
    assert exposure(owned_by(owner), 0) is None
