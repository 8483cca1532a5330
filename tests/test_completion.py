"""TAB in a real shell: commands, options, and the names that the config holds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celreplay.cli import COMMANDS
from celreplay.store.base import State

_TAB = r"""
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "compopt $*"; }
_celreplay_completion celreplay
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `celreplay completion bash` prints."""
    path = tmp_path_factory.mktemp("completion") / "celreplay.bash"
    path.write_bytes(celreplay("completion", "bash").stdout)
    return path


def celreplay(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "celreplay", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=50)


def tab(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", _TAB, "bash", str(script), *words],
        capture_output=True, text=True, check=True, timeout=50, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_their_options_are_completed(script: Path) -> None:
    """TAB knows every command, the commands below a command, options, and what an option chooses from."""
    assert tab(script, "celreplay", "") == list(COMMANDS)
    assert tab(script, "celreplay", "che") == ["check-config"]
    assert tab(script, "celreplay", "store", "") == ["backup", "check", "vacuum"]
    assert tab(script, "celreplay", "replay", "--dr") == ["--dry-run"]
    assert tab(script, "celreplay", "replay", "--force", "") == ["0", "1", "new"]
    assert "compopt" in tab(script, "celreplay", "status", "-c", "")


def test_connectors_of_the_config_are_completed(script: Path, tmp_path: Path) -> None:
    """The names come from the config that the line names, also where its secrets cannot be read."""
    config = tmp_path / "celreplay.yaml"
    config.write_text(
        "connectors:\n  crm: {type: webhook, secret_file: /nowhere/secret}\n  crm-old: {}\n  desk: {}\n"
    )
    line = ("celreplay", "replay", "-c", str(config), "--connector")
    assert tab(script, *line, "") == ["crm", "crm-old", "desk"]
    assert tab(script, *line, "d") == ["desk"]
    assert tab(script, "celreplay", "deliveries", "list", "-c", str(config), "--connector", "crm-") == [
        "crm-old"
    ]


@pytest.mark.parametrize("content", ["connectors: [", "connectors: 5", "", "\xff"])
def test_a_config_that_cannot_be_read_completes_nothing(content: str, script: Path, tmp_path: Path) -> None:
    """TAB is silent then, not a traceback in the middle of the line."""
    config = tmp_path / "celreplay.yaml"
    config.write_text(content, encoding="latin-1")
    assert tab(script, "celreplay", "replay", "-c", str(config), "--connector", "") == []


def test_states_are_completed(script: Path) -> None:
    """`--state` offers the states of a delivery, and `held`."""
    assert tab(script, "celreplay", "deliveries", "list", "--state", "") == [*State, "held"]


@pytest.mark.parametrize(("shell", "words"), [("zsh", "#compdef celreplay"), ("fish", "complete --no-files")])
def test_the_other_shells_have_their_script(shell: str, words: str, tmp_path: Path) -> None:
    """zsh and fish get theirs; where the shell is there, it can read the script."""
    done = celreplay("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert words in done.stdout.decode()
    if shutil.which(shell):
        (tmp_path / "script").write_bytes(done.stdout)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
