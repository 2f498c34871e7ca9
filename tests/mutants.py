"""Plant small faults one at a time and see whether the tests notice: `make mutants`.

A mutant is the project with one token changed: a number, a comparison, an axis, a pair of names that are easily confused (a and b,
train and test, best and last, …). For each module a seeded sample of mutants is drawn, and the tests that are meant for the module
run against each. A mutant is killed if they fail; a survivor is a fault that nobody would notice.

The changed module lies in a copy of the checkout, so that the processes which a test starts see it too. The tests run in a forked
process that has imported Keras and its like already. They begin with those that run the changed line, the quickest first, and stop
at the first failure. A process that takes three times the processor time of the unchanged module's tests, or hangs, counts as
killed. Nothing in the checkout is changed.

`strict=True` of `zip` and default batch sizes stay as they are: no result can tell of them.

    python tests/mutants.py colorize_lib/color colorize_lib/training/data.py --each 12 --report mutants.json
"""

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "colorize_lib/color",
    "colorize_lib/models",
    "colorize_lib/training",
    "colorize_lib/evaluation",
    "data_prep",
    "colorize_lib/files.py",
)
# Imported once, for all mutants.
HEAVY = ("keras", "pytest", "pandas", "PIL.Image", "scipy.ndimage", "scipy.stats", "skimage.color", "matplotlib.pyplot")
# Tests beside the module's own, tests/PACKAGE/test_MODULE.py, that are meant for it.
MORE_TESTS = {
    "colorize_lib/models/__init__.py": [
        "tests/models/test_polychromify.py",
        "tests/models/test_documentation.py",
        "tests/test_api.py",
    ],
    "colorize_lib/models/zhang.py": [
        "tests/models/test_zhang.py",
        "tests/models/test_documentation.py",
        "tests/apps/test_public_weights.py",
    ],
    "colorize_lib/models/sizes.py": ["tests/models/test_polychromify.py", "tests/models/test_documentation.py"],
    "colorize_lib/color/__init__.py": ["tests/color"],
    "colorize_lib/evaluation/report.py": ["tests/evaluation/test_report.py", "tests/evaluation/test_scores.py"],
    "colorize_lib/training/checkpoint.py": ["tests/training/test_runs.py", "tests/training/test_cost.py"],
    "colorize_lib/training/machine.py": [
        "tests/training/test_machine.py",
        "tests/training/test_devices.py::test_the_manifest_names_the_gpus",
    ],
    "colorize_lib/training/classification.py": [
        "tests/training/test_classification.py",
        "tests/evaluation/test_judges.py",
    ],
    "colorize_lib/training/colorizer.py": [
        "tests/training/test_colorizer.py",
        "tests/test_mutations.py::test_weights_of_another_network_are_named",
        "tests/test_mutations.py::test_weights_that_would_fill_the_memory_are_refused_before_they_are_unpacked",
    ],
    "colorize_lib/evaluation/scores.py": ["tests/evaluation/test_scores.py", "tests/evaluation/test_claims.py"],
    "data_prep/registry.py": ["tests/data_prep/test_data_prep.py"],
    "data_prep/sources.py": ["tests/data_prep/test_data_prep.py", "tests/data_prep/test_bundled_photos.py"],
    "data_prep/readers.py": ["tests/data_prep/test_data_prep.py", "tests/data_prep/test_arrays.py"],
    "data_prep/arrays.py": ["tests/data_prep/test_arrays.py", "tests/data_prep/test_data_prep.py"],
    "data_prep/unpack.py": ["tests/data_prep/test_download.py"],
    "data_prep/prepared.py": ["tests/data_prep/test_data_prep.py", "tests/data_prep/test_arrays.py"],
    "data_prep/__main__.py": ["tests/data_prep/test_data_prep.py"],
    "data_prep/__init__.py": ["tests/data_prep/test_data_prep.py", "tests/data_prep/test_arrays.py"],
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
CONFUSED = [
    ("train", "test"),
    ("validation", "test"),
    ("best", "last"),
    ("same", "valid"),
    ("relu", "linear"),
    ("min", "max"),
    ("argmin", "argmax"),
    ("mean", "sum"),
    ("floor", "ceil"),
    ("a", "b"),
    ("height", "width"),
    ("prediction", "target"),
    ("first", "second"),
]
SWAPPED = {name: other for pair in CONFUSED for name, other in (pair, pair[::-1])}


class Mutator(ast.NodeTransformer):
    """Changes the `chosen`-th place of a tree that can be changed, and counts the places on its way."""

    def __init__(self, chosen=None):
        self.chosen, self.places, self.change = chosen, 0, None

    def _is_chosen(self, node, change):
        self.places += 1
        if self.places - 1 != self.chosen:
            return False
        self.change = f"line {node.lineno}: {change}"
        return True

    def visit_Expr(self, node):
        # A docstring is no code.
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node):
        return node  # the wording of a message

    def visit_JoinedStr(self, node):
        return node

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            new = not value
        elif isinstance(value, int):
            new = value + 1
        elif isinstance(value, float):
            new = value * 1.1 if value else 1.0
        elif isinstance(value, str) and value in SWAPPED:
            new = SWAPPED[value]
        else:
            return node
        if self._is_chosen(node, f"{value!r} → {new!r}"):
            return ast.copy_location(ast.Constant(new), node)
        return node

    def visit_keyword(self, node):
        return node if node.arg == "strict" else self.generic_visit(node)

    def visit_arguments(self, node):
        named = [argument.arg for argument in node.args][len(node.args) - len(node.defaults) :]
        node.defaults = [
            value if name == "batch_size" else self.visit(value)
            for name, value in zip(named, node.defaults, strict=True)
        ]
        node.kw_defaults = [value and self.visit(value) for value in node.kw_defaults]
        return node

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Not | ast.USub) and self._is_chosen(node, f"without {type(node.op).__name__}"):
            return node.operand
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        kind = type(node.ops[0])
        if kind in COMPARISONS and self._is_chosen(node, f"{kind.__name__} → {COMPARISONS[kind].__name__}"):
            node.ops[0] = COMPARISONS[kind]()
        return node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        kind = type(node.op)
        if kind in ARITHMETIC and self._is_chosen(node, f"{kind.__name__} → {ARITHMETIC[kind].__name__}"):
            node.op = ARITHMETIC[kind]()
        return node

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        if self._is_chosen(node, f"{type(node.op).__name__} → {other.__name__}"):
            node.op = other()
        return node

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if node.attr in SWAPPED and self._is_chosen(node, f".{node.attr} → .{SWAPPED[node.attr]}"):
            node.attr = SWAPPED[node.attr]
        return node

    def visit_If(self, node):
        self.generic_visit(node)
        if self._is_chosen(node, "condition turned around"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node


def mutants(path, count, seed):
    """`count` mutants of a module, drawn with `seed`: pairs of what was changed and the new source."""
    source = path.read_text(encoding="utf-8")
    counter = Mutator()
    counter.visit(ast.parse(source))
    chosen = random.Random(f"{seed} {path.name}").sample(range(counter.places), min(count, counter.places))
    found = []
    for place in sorted(chosen):
        mutator = Mutator(place)
        tree = ast.fix_missing_locations(mutator.visit(ast.parse(source)))
        found.append((mutator.change, ast.unparse(tree)))
    return found


def tests_of(module):
    """Test files meant for `module`, a path relative to the root."""
    if module in MORE_TESTS:
        return MORE_TESTS[module]
    path = Path(module)
    package = path.parts[1] if path.parts[0] == "colorize_lib" and len(path.parts) > 2 else path.parts[0]
    package = "" if package == "colorize_lib" else package
    own = Path("tests") / package / f"test_{path.stem}.py"
    tests = [str(own)] if (ROOT / own).exists() else [str(Path("tests") / package)]
    return [*tests, "tests/models/test_documentation.py"] if package == "models" else tests


class Order:
    """pytest's plugin that notes the seconds of each test and the lines of a file that it runs, or uses such notes."""

    def __init__(self, path, notes, line=None):
        self.path, self.notes, self.line = str(path), notes, line

    def pytest_collection_modifyitems(self, items):
        if self.line is not None:
            found = [self.notes.get(item.nodeid, (0, [])) for item in items]
            places = sorted(range(len(items)), key=lambda i: (self.line not in found[i][1], found[i][0]))
            items[:] = [items[i] for i in places]

    def pytest_runtest_protocol(self, item):
        if self.line is None:
            self.begun, self.lines = time.monotonic(), set()
            sys.settrace(self._called)

    def pytest_runtest_logfinish(self, nodeid):
        if self.line is None:
            sys.settrace(None)
            self.notes[nodeid] = time.monotonic() - self.begun, sorted(self.lines)

    def _called(self, frame, event, argument):
        return self._stepped if frame.f_code.co_filename == self.path else None

    def _stepped(self, frame, event, argument):
        self.lines.add(frame.f_lineno)
        return self._stepped


class Checkout:
    """A copy of the project, in which one module at a time is another."""

    def __init__(self, folder, limit):
        self.folder, self.limit, self.notes = Path(folder).resolve(), limit, {}
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.folder / name)
        os.chdir(self.folder)
        sys.path[:0] = [str(self.folder), str(self.folder / "tests")]
        os.environ |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        # No test here needs pytest's plugins, which take two seconds to import.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        sys.dont_write_bytecode = True  # a changed source can have the time and size of the one before

    def passes(self, module):
        """Whether the tests pass without a fault; they are timed, and the lines that each of them runs are noted."""
        self.notes, self.seconds = {}, None
        return self._run(module) == "survived"

    def fate(self, module, source, line):
        """What becomes of a mutant: "survived", "killed" or "time"."""
        path = self.folder / module
        original = path.read_text(encoding="utf-8")
        path.write_text(source, encoding="utf-8")
        try:
            return self._run(module, line)
        finally:
            path.write_text(original, encoding="utf-8")

    def _run(self, module, line=None):
        notes = self.folder / ".notes.json"
        child = os.fork()
        if child == 0:
            os.setpgrp()  # no new session, which would have a priority of its own
            output = os.open(self.folder / ".output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if self.seconds:
                most = int(20 + 3 * self.seconds)
                resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", *tests_of(module)]
            status = 1
            with contextlib.suppress(BaseException):
                status = int(pytest.main(options, plugins=[Order(self.folder / module, self.notes, line)]))
                if line is None:
                    notes.write_text(json.dumps(self.notes))
            os._exit(status)
        end = time.monotonic() + self.limit
        while time.monotonic() < end:
            done, status, used = os.wait4(child, os.WNOHANG)
            if done and line is None and status == 0:
                self.notes, self.seconds = json.loads(notes.read_text()), used.ru_utime + used.ru_stime
            if done:
                return "survived" if status == 0 else "killed"
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "time"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "paths", nargs="*", default=PACKAGES, help="modules or packages (default: all that are measured)"
    )
    parser.add_argument("--each", type=int, default=12, metavar="N", help="mutants a module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=900, help="seconds after which a mutant hangs (default: %(default)s)"
    )
    parser.add_argument("--only", type=re.compile, help="only mutants whose change matches this regular expression")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write every mutant and its fate as JSON")
    options = parser.parse_args()
    modules = []
    for path in (ROOT / path for path in options.paths):
        modules += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    chosen = {path.relative_to(ROOT).as_posix(): mutants(path, options.each, options.seed) for path in modules}
    if options.only:
        chosen = {name: [row for row in rows if options.only.search(row[0])] for name, rows in chosen.items()}
    chosen = {name: rows for name, rows in chosen.items() if rows}
    if options.list:
        print("\n".join(f"{name}, {change}" for name, rows in chosen.items() for change, _ in rows))
        return
    for name in HEAVY:
        importlib.import_module(name)
    report = []
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Checkout(scratch, options.limit)
        for module, rows in chosen.items():
            if not checkout.passes(module):
                print((checkout.folder / ".output").read_text(errors="replace")[-3000:])
                sys.exit(
                    f"error: the tests of {module} ({', '.join(tests_of(module))}) fail without any fault: mend them first."
                )
            fates = []
            for change, source in rows:
                fates.append(checkout.fate(module, source, int(change.split(":")[0].removeprefix("line "))))
                report.append({"module": module, "change": change, "fate": fates[-1]})
                if fates[-1] == "survived":
                    print(f"  survived: {module}, {change}", flush=True)
            print(f"{module}: {sum(fate != 'survived' for fate in fates)} of {len(fates)} killed", flush=True)
            if options.report:  # after each module: the whole takes hours
                (ROOT / options.report).write_text(
                    json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                )
        os.chdir(ROOT)
    killed = sum(row["fate"] != "survived" for row in report)
    print(f"{killed} of {len(report)} mutants killed ({killed / max(len(report), 1):.0%})")


if __name__ == "__main__":
    main()
