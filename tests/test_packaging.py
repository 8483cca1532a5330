"""What is around the package: its data files, its versions, the scripts that set it up."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import celreplay

ROOT = Path(__file__).parent.parent
SCRIPTS = [ROOT / "scripts" / "setup", ROOT / "scripts" / "common.sh", ROOT / ".ci" / "run"]


def project() -> dict[str, Any]:
    """`[project]` of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        section: dict[str, Any] = tomllib.load(file)["project"]
    return section


def pins() -> dict[str, str]:
    """Package → version of constraints.txt; names as PEP 503 normalises them."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (ln.split("==") for ln in lines)
    }


def test_the_package_and_the_project_say_the_same_version() -> None:
    """One is shown by `--version` and sent to the CRM, the other is installed."""
    assert project()["version"] == celreplay.__version__


def test_the_changelog_knows_what_is_not_released() -> None:
    """Keep a Changelog 1.1.0: changes are gathered under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text


def test_every_dependency_is_pinned() -> None:
    """A set-up next year installs what is tested today."""
    extras = project()["optional-dependencies"]
    wanted = project()["dependencies"] + extras["fast"] + extras["test"]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", line)[0]).lower() for line in wanted}
    assert names - pins().keys() == set()


def test_the_build_takes_every_file_the_package_reads(tmp_path: Path) -> None:
    """SQL, tables and samples lie beside the modules; one that is missing shows only when installed."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed beside the tests")
    shutil.copytree(ROOT / "celreplay", tmp_path / "celreplay", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "README.md").write_text("stands for the real one\n")
    build = [
        sys.executable,
        "-c",
        "import setuptools; setuptools.setup()",
        "-q",
        "build_py",
        "--build-lib",
        "built",
    ]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    assert files_in(tmp_path / "celreplay") - files_in(tmp_path / "built" / "celreplay") == set()


def files_in(folder: Path) -> set[str]:
    """Paths of all files, relative."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_bash_that_parses(script: Path) -> None:
    """`bash -n` reads the whole of it."""
    parsed = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (parsed.returncode, parsed.stderr) == (0, "")


def test_the_set_up_refuses_an_old_python_with_a_sentence(tmp_path: Path) -> None:
    """With no Python from 3.11 on there is nothing to begin with, and no traceback either."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    bash = shutil.which("bash") or "/bin/bash"
    run = subprocess.run(
        [bash, "-c", '. "$1"; find_python', "-", str(ROOT / "scripts" / "common.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("celreplay: Python 3.11 or newer is needed")


def test_a_set_up_that_is_up_to_date_does_nothing(tmp_path: Path) -> None:
    """`make` calls it each time. Here with a path that has a blank, and a .venv that only looks like one."""
    home = tmp_path / "a clone"
    (home / "scripts").mkdir(parents=True)
    for name in ("scripts/setup", "scripts/common.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, home / name)
    program = home / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    first = subprocess.run([home / "scripts" / "setup"], capture_output=True, text=True, check=True)
    assert "installing celreplay[fast]" in first.stderr
    again = subprocess.run([home / "scripts" / "setup"], capture_output=True, text=True, check=True)
    assert again.stderr == ""
    (home / "constraints.txt").write_text("other==1\n")
    changed = subprocess.run([home / "scripts" / "setup"], capture_output=True, text=True, check=True)
    assert "installing celreplay[fast]" in changed.stderr


def test_programs_of_the_project_can_be_started() -> None:
    """Git keeps the permission; a checkout without it cannot run `make`."""
    for script in (ROOT / "scripts" / "setup", ROOT / ".ci" / "run"):
        assert os.access(script, os.X_OK)


def test_every_target_of_make_is_explained() -> None:
    """`make` alone prints what there is."""
    text = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)[0].split()
    run = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    explained = [line.split("\t")[0] for line in run.stdout.splitlines()]
    assert sorted(explained) == sorted(f"make {name}" for name in phony)
