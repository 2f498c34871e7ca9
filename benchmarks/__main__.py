"""Measure, show, compare.

python -m benchmarks measure [ROWS …]      fills results/bench.json, which keeps what was not measured; `make bench`
python -m benchmarks table                 prints it
python -m benchmarks compare OLD NEW       names rows whose ratio fell; the exit status is 1 if there is one
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks import report, rows
from colorize_lib.errors import InputError


def measure(names, plan, path):
    """Measure groups of rows one after the other and write each as soon as it is there; a group that fails stops none."""
    import keras

    from colorize_lib.training import machine

    if keras.backend.backend() != "tensorflow":
        raise InputError("These rows are a CPU's on TensorFlow: unset KERAS_BACKEND, or install requirements.txt.")
    machine = machine.hardware(), machine.versions(), machine.git_commit()
    failed = []
    for name in rows.chosen(names):
        load, begun = report.load_average(), time.perf_counter()
        print(f"{name}: ", end="", flush=True)
        try:
            found = rows.measured(name, plan)
        except InputError as error:
            failed.append(name)
            print(f"failed: {error}", flush=True)
            continue
        seconds = round(time.perf_counter() - begun, 1)
        for row in found.values():
            row["measured"] = {"load_average_before": load}
        report.write(found, *machine, path)
        print(f"{seconds:.0f} s", flush=True)
    content = report.read(path)
    print(report.text(content))
    if path == report.PATH:
        report.write_readme(content)
    return failed


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("measure", help="fill results/bench.json")
    command.add_argument("rows", nargs="*", help=f"of {', '.join(rows.GROUPS)}, or training; default all")
    command.add_argument("--photographs", type=Path, help="folder of full-size photographs for the preparation")
    command.add_argument("--tiny", action="store_true", help="sizes that say nothing, to see whether everything runs")
    for name in ("measure", "table"):
        command = command if name == "measure" else commands.add_parser(name, help="print results/bench.json")
        command.add_argument("--file", type=Path, default=report.PATH, help="default results/bench.json")
    command = commands.add_parser("compare", help="name rows whose ratio fell")
    command.add_argument("old", type=Path)
    command.add_argument("new", type=Path)
    command.add_argument("--share", type=float, default=0.15, help="by which a ratio may fall, default 0.15")
    given = parser.parse_args()
    try:
        if given.command == "measure":
            if given.tiny and given.file == report.PATH:
                raise InputError("--tiny does not go into results/bench.json: name another --file.")
            plan = rows.TINY if given.tiny else rows.Plan(folder=given.photographs)
            sys.exit(bool(measure(given.rows, plan, given.file)))
        if given.command == "table":
            print(report.text(report.read(given.file)))
            if given.file == report.PATH:
                report.write_readme(report.read())
        else:
            for path in (given.old, given.new):
                if not path.exists():
                    raise InputError(f"There is no {path}: name two files that `make bench` has written.")
            fallen = report.compare(report.read(given.old), report.read(given.new), given.share)
            for machine, key, before, now in fallen:
                print(f"{machine}, {key}: {before:.2f} before, {now:.2f} now")
            sys.exit(bool(fallen))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
