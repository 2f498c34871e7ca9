"""Plant small faults one at a time and see whether the tests notice: `make mutants`.

A mutant is the project with one token changed: a number, a comparison, an axis, a pair of names that are easily confused (a and b,
train and test, best and last, …). For each module a seeded sample of mutants is drawn, and the tests that are meant for the module
run against each. A mutant is killed if they fail; a survivor is a fault that nobody would notice.

Each mutant lives in a forked process that has imported Keras already, reads the changed source of that one module, and has a time
limit. Nothing in the checkout is changed.

    python tests/mutants.py colorize_lib/color colorize_lib/training/data.py --each 12 --report mutants.json
"""

import argparse
import ast
import importlib.util
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "colorize_lib/color",
    "colorize_lib/models",
    "colorize_lib/training",
    "colorize_lib/evaluation",
    "data_prep",
)
# Tests beside the module's own, tests/PACKAGE/test_MODULE.py, that are meant for it.
MORE_TESTS = {
    "colorize_lib/models/__init__.py": ["tests/models"],
    "colorize_lib/models/sizes.py": ["tests/models"],
    "colorize_lib/color/__init__.py": ["tests/color"],
    "colorize_lib/evaluation/report.py": ["tests/evaluation/test_report.py", "tests/evaluation/test_scores.py"],
    "colorize_lib/training/checkpoint.py": ["tests/training/test_runs.py"],
    "colorize_lib/training/machine.py": ["tests/training/test_runs.py"],
    "data_prep/registry.py": ["tests/data_prep"],
    "data_prep/sources.py": ["tests/data_prep"],
    "data_prep/readers.py": ["tests/data_prep", "tests/test_images.py"],
    "data_prep/unpack.py": ["tests/data_prep", "tests/test_mutations.py"],
    "data_prep/__init__.py": ["tests/data_prep"],
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
    return [str(own)] if (ROOT / own).exists() else [str(Path("tests") / package)]


def survives(module, source, limit):
    """Run the module's tests in a forked process that sees `source` in its place. Returns "survived", "killed" or "time"."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os._exit(_run(module, source))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "killed"
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "time"


def _run(module, source):
    path, name = str(ROOT / module), module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    class Changed(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname):
            return compile(source, path, "exec")

    class Finder:
        @staticmethod
        def find_spec(fullname, search=None, target=None):
            if fullname != name:
                return None
            folder = [str(Path(path).parent)] if module.endswith("__init__.py") else None
            return importlib.util.spec_from_file_location(
                name, path, loader=Changed(name, path), submodule_search_locations=folder
            )

    sys.meta_path.insert(0, Finder)
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not long"]
    try:
        return int(pytest.main([*options, *tests_of(module)]))
    except BaseException:
        return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "paths", nargs="*", default=PACKAGES, help="modules or packages (default: all that are measured)"
    )
    parser.add_argument("--each", type=int, default=12, metavar="N", help="mutants a module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=300, help="seconds that one mutant may take (default: %(default)s)"
    )
    parser.add_argument("--report", metavar="FILE", help="write every mutant and its fate as JSON")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import keras  # noqa: F401  once for all mutants

    modules = []
    for path in map(Path, options.paths):
        modules += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    report = []
    for path in modules:
        fates = []
        if survives(path.as_posix(), (ROOT / path).read_text(encoding="utf-8"), options.limit) != "survived":
            sys.exit(
                f"error: the tests of {path} ({', '.join(tests_of(path.as_posix()))}) fail without any fault: mend them first."
            )
        for change, source in mutants(ROOT / path, options.each, options.seed):
            fate = survives(path.as_posix(), source, options.limit)
            fates.append(fate)
            report.append({"module": path.as_posix(), "change": change, "fate": fate})
            if fate == "survived":
                print(f"  survived: {path}, {change}", flush=True)
        killed = sum(fate != "survived" for fate in fates)
        if fates:
            print(f"{path}: {killed} of {len(fates)} killed", flush=True)
    killed = sum(row["fate"] != "survived" for row in report)
    print(f"{killed} of {len(report)} mutants killed ({killed / max(len(report), 1):.0%})")
    if options.report:
        Path(options.report).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
