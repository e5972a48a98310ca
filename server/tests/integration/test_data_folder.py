"""The data folder, its lock and the secret key."""

import os
import re
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.config import Settings
from app.core.errors import StartupFailed
from app.engines import data_folder
from app.engines.data_folder import FolderLock, Holder, find_holder, make_private, run_folder, secret_key

PRINTS_THE_KEY = """
import sys
from pathlib import Path
from app.config import Settings
from app.engines.data_folder import secret_key
print("up", flush=True)
sys.stdin.readline()
print(secret_key(Settings(data_dir=Path(sys.argv[1]))))
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_made_with_private_parts_that_others_only_pass(tmp_path):
    folder = tmp_path / "not" / "yet"

    data_folder.prepare(folder)

    assert mode(folder) == 0o711
    assert {path.name: mode(path) for path in folder.iterdir()} == {"run": 0o700, "logs": 0o700, "transcripts": 0o700}


def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o750)

    data_folder.prepare(tmp_path)

    assert mode(tmp_path) == 0o750


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_folders_place_is_one_clear_sentence(tmp_path, below):
    taken = tmp_path / "file"
    taken.write_text("mine")

    with pytest.raises(StartupFailed, match=rf"^the data folder {taken}.* cannot be used: {taken}.* is not a folder$"):
        data_folder.prepare(taken / below if below else taken)


def test_a_folder_that_cannot_be_made_is_one_clear_sentence():
    with pytest.raises(StartupFailed, match=r"^the data folder /proc/arena cannot be written .*ARENA_DATA_DIR"):
        data_folder.prepare(Path("/proc/arena"))


def test_the_second_holder_of_the_lock_is_told_who_has_it(tmp_path):
    with FolderLock(tmp_path):
        assert find_holder(tmp_path) == Holder(os.getpid(), "arena serve")
        with pytest.raises(
            StartupFailed, match=rf"^another `arena serve` \(pid {os.getpid()}\) already uses {tmp_path}$"
        ):
            FolderLock(tmp_path).acquire()

    assert find_holder(tmp_path) is None
    with FolderLock(tmp_path, "arena demo"), pytest.raises(StartupFailed, match="another `arena demo`"):
        FolderLock(tmp_path).acquire()


def test_the_lock_is_free_after_its_holder_was_killed(tmp_path):
    holds = "import sys, time; from pathlib import Path; from app.engines.data_folder import FolderLock\n"
    holds += "FolderLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holds, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert find_holder(tmp_path).pid == holder.pid
        holder.kill()
    FolderLock(tmp_path).acquire()


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    settings = Settings(data_dir=tmp_path)

    first = secret_key(settings)

    assert re.fullmatch(r"[\w-]{64}", first)
    assert secret_key(settings) == first
    assert mode(tmp_path / "secret.key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_processes_that_make_the_key_at_once_agree_on_it(tmp_path):
    command = [sys.executable, "-c", PRINTS_THE_KEY, str(tmp_path)]
    with ExitStack() as stack:
        makers = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(4)
        ]
        assert {maker.stdout.readline() for maker in makers} == {"up\n"}
        for maker in makers:
            maker.stdin.write("now\n")
            maker.stdin.flush()
        keys = {maker.stdout.readline() for maker in makers}

    assert keys == {(tmp_path / "secret.key").read_text()}


def test_a_damaged_key_is_refused(tmp_path):
    (tmp_path / "secret.key").write_text("short")

    with pytest.raises(StartupFailed, match="is damaged"):
        secret_key(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("path", ["/data/" + "long/" * 30, "/data/with space", "/data/a,b", "/data/a:b"])
def test_sockets_move_where_a_connection_string_can_name_them(path):
    moved = run_folder(Path(path))

    assert moved.parent == Path("/tmp")
    assert moved == run_folder(Path(path)) != run_folder(Path(path + "2"))
    assert run_folder(Path("/data/plain")) == Path("/data/plain/run")


def test_a_socket_folder_that_somebody_else_prepared_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trap").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StartupFailed, match="belongs to somebody else"):
        make_private(tmp_path / "trap", None)
