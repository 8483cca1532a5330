"""`make chaos`: run the scenarios, three at a time, each in a process of its own, and print one table.

    python -m chaos [--short] [--seed TEXT] [--only NAME]… [--cel KIND] [--keep]

Exit code 0: no call was lost, none doubled that need not have been, none out of order. Else 1, and everything that
happened stays in the folder whose name is printed.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from chaos.play import play
from chaos.report import Result, result_of, table
from chaos.scenarios import LONG, SABOTAGES, SHORT, Scenario
from chaos.stores import NoDiskError

_SKIPPED = 77
"""Exit code of a scenario that cannot be played on this machine."""


def main() -> int:
    """The whole run."""
    parser = argparse.ArgumentParser(prog="chaos", description="Break everything, and judge what arrived.")
    parser.add_argument("--short", action="store_true", help="a few minutes instead of a quarter of an hour")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--only", action="append", choices=[scenario.name for scenario in LONG])
    parser.add_argument("--keep", action="store_true", help="keep the ledgers and logs of a good run too")
    parser.add_argument("--at-once", type=int, default=3, help="scenarios at a time")
    parser.add_argument(
        "--cel", choices=["postgresql", "mariadb", "sqlite"], help="instead of the scenario's own"
    )
    parser.add_argument("--sabotage", choices=SABOTAGES, help="spoil the run on purpose: it must find faults")
    parser.add_argument("--folder", type=Path, help="(inner) play the one scenario of --only here")
    options = parser.parse_args()
    chosen = [s for s in (SHORT if options.short else LONG) if not options.only or s.name in options.only]
    changed = {"cel": options.cel, "sabotage": options.sabotage}
    chosen = [replace(scenario, **{name: new for name, new in changed.items() if new}) for scenario in chosen]
    if options.folder:
        return _one(chosen[0], options.seed, options.folder)
    return _all(chosen, options)


def _one(scenario: Scenario, seed: str, folder: Path) -> int:
    try:
        world, verdict = play(scenario, seed, folder)
    except NoDiskError as error:
        print(f"{scenario.name} cannot be played: {error}", file=sys.stderr)
        return _SKIPPED
    result = result_of(scenario, world, verdict)
    (folder / "result.json").write_text(json.dumps(result.as_json(), indent=1))
    return 1 if result.faults else 0


def _all(chosen: list[Scenario], options: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    begin = time.monotonic()
    print(f"chaos: seed {options.seed}, {len(chosen)} scenarios, ledgers and logs in {folder}", flush=True)
    with ThreadPoolExecutor(options.at_once) as pool:
        codes = list(pool.map(lambda scenario: _process(scenario, options, folder / scenario.name), chosen))
    results = []
    for scenario in chosen:
        file = folder / scenario.name / "result.json"
        if file.exists():
            results.append(Result(**json.loads(file.read_text())))
    print(table(results))
    for result in results:
        for fault in result.faults[:20]:
            print(f"{result.scenario}: {fault}")
    good = all(code in (0, _SKIPPED) for code in codes)
    print(f"chaos: seed {options.seed}, {time.monotonic() - begin:.0f} s, {'no fault' if good else 'FAULTS'}")
    if good and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"chaos: ledgers and logs are kept in {folder}")
    return 0 if good else 1


def _process(scenario: Scenario, options: argparse.Namespace, folder: Path) -> int:
    """Play one scenario in a process of its own; without the right to mount, in a user namespace that has it."""
    folder.mkdir()
    words = [sys.executable, "-m", "chaos", "--only", scenario.name, "--seed", options.seed]
    words += ["--folder", str(folder), *["--short"] * options.short]
    words += [f"--{name}={value}" for name in ("cel", "sabotage") if (value := getattr(options, name))]
    if scenario.full_disks and os.geteuid() != 0 and shutil.which("unshare"):
        words = ["unshare", "--map-root-user", "--mount", *words]
    log = folder / "driver.log"
    with log.open("wb") as file:
        code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code == _SKIPPED or not (folder / "result.json").exists():
        print(f"chaos: {scenario.name}: {log.read_text()[-1500:]}", flush=True)
    else:
        print(f"chaos: {scenario.name}: done", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
