"""python -m data_prep NAME: fetch, verify, unpack and prepare a dataset; `list` shows all of them."""

import argparse
import sys

from colorize_lib import files
from colorize_lib.errors import exit_status, number
from data_prep import load, registry


def main(arguments=None):
    """Run the command line and return its `exit_status`."""
    given = _parser().parse_args(arguments)
    return exit_status(lambda: _list(files.data_home(given.home)) if given.name == "list" else _prepare(given))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    listing = commands.add_parser("list", help="name, size, counts, terms, and what is here")
    listing.add_argument("--home", help="data home (default: COLORIZE_DATA, else the user's cache folder)")
    for name, spec in registry.DATASETS.items():
        command = commands.add_parser(name, help=f"{spec.title}: {spec.counts}".replace("%", "%%"))
        command.add_argument("--home", help="data home (default: COLORIZE_DATA, else the user's cache folder)")
        command.add_argument(
            "--size", type=number(int, 8, 4096), help=f"side of the images in pixels (default: {spec.size})"
        )
        command.add_argument("--limit", type=number(int, 1, 10**9), help="at most this many images of every split")
        command.add_argument("--jobs", type=number(int, 1, 1024), help="worker processes (default: one a core)")
        command.add_argument("--dask", metavar="ADDRESS", help="tcp://HOST:PORT of a Dask scheduler that does the work")
        command.add_argument("--url", help="mirror: the archive's address, or its folder's, ending with /")
        command.add_argument("--allow-skipped", action="store_true", help="accept more than 1 %% unreadable images")
        for key, option in spec.options.items():
            positional = key == "path" and name == "folder"
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            default = "" if option.default is None else f" (default: {option.default})"
            text = f"{option.means}{choices}{default}".replace("%", "%%")
            command.add_argument("path" if positional else f"--{key.replace('_', '-')}", help=text)
    return parser


def _list(home):
    print(f"data home: {home}")
    for name, spec in registry.DATASETS.items():
        archives = {archive.file: archive for archive in _all_archives(name)}.values()
        size = (
            f"{sum(archive.bytes for archive in archives) / 1e6:,.0f} MB to download"
            if archives
            else "nothing to download"
        )
        here = [archive.folder for archive in archives if (home / archive.folder).is_dir()]
        prepared = sorted(path.parent.name for path in (home / "prepared").glob(f"{name}-*/manifest.json"))
        print(f"\n{name}  {spec.title}" + (f", paper {spec.paper}" if spec.paper else ""))
        print(f"    {spec.counts}")
        print(f"    {size}; terms: {spec.terms}")
        print(f"    here: {', '.join(here + [f'prepared/{key}' for key in prepared]) or 'no'}")


def _all_archives(name):
    """Archives for every choice of the dataset's options."""
    spec = registry.DATASETS[name]
    options = registry.resolve(name, {})
    return spec.archives({**options, "part": "both"})


def _prepare(given):
    from tqdm import tqdm

    options = vars(given)
    name = options.pop("name")
    with tqdm(desc=f"preparing {name}", unit=" images", unit_scale=True, disable=None, leave=False) as bar:

        def report(done, total):
            bar.total = total
            bar.update(done - bar.n)

        dataset = load(name, wait=0, report=report, progress=sys.stderr.isatty(), **options)
    counts = ", ".join(f"{len(split):,} {split_name}" for split_name, split in dataset.splits.items())
    skipped = dataset.manifest.get("skipped", [])
    print(f"{name}: {counts}, fingerprint {dataset.fingerprint[:16]}, in {dataset.folder}")
    for entry in skipped[:10]:
        print(f"    skipped {entry['file']}: {entry['reason']}")
    if len(skipped) > 10:
        print(f"    and {len(skipped) - 10} more, listed in the manifest")


if __name__ == "__main__":
    sys.exit(main())
