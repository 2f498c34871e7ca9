"""The command line: `python -m colorize_lib --help`."""

import argparse
import os
import random
import sys

from colorize_lib import files, papers
from colorize_lib.errors import exit_status, number, printable

# `colorize_lib.images.WRITABLE`, which would be slow to import for a list of commands.
_WRITABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF")


def _models(arguments):
    from colorize_lib import models
    from colorize_lib.apps import trained

    print(f"{'name':<24}{'parameters':>12}  {'paper':<14}weights")
    for name in models.names():
        # Without a download: the weights of ImageNet change no number.
        options = {"weights": None} if "weights" in models.option_names(name) else {}
        parameters = models.build(name, **options).count_params()
        print(f"{name:<24}{parameters:>12,}  {models.entry(name).paper or 'none':<14}{trained.place(name)}")
    runs = sorted(files.run_root().glob("*/*/*/network.json"))
    if runs:
        print("\nTrained here (colorize -m FOLDER)")
    for path in runs:
        print(f"  {path.parent}")
    print("\nPapers")
    for paper in dict.fromkeys(models.entry(name).paper for name in models.names()):
        if paper:
            print(f"  {paper:<14}{papers.citation(paper)}")


def _reproduce(arguments):
    if arguments.paper == "natural":
        return _train_natural(arguments)
    files.require_checkout("Reproducing a paper")
    from colorize_lib.reproduction import series

    return series.run(arguments.paper, arguments.parameters)


def _train_natural(arguments):
    from colorize_lib.apps import trained
    from colorize_lib.reproduction import natural
    from data_prep import load

    settings = natural.resolve(arguments.parameters)
    datasets = {"photographs": load(settings.dataset, size=64, progress=True)}
    if settings.scenes:
        datasets["scenes"] = load(settings.scenes, size=150, validation=0.1, test=0.0)
    bundled = load("photos", size=natural.VALIDATION_SIDE)
    test, others = None, {}
    if settings.photos:
        folder = files.data_home() / settings.photos  # an absolute path stays what it is
        test = natural.unseen(folder, set(datasets["photographs"].classes))
        others = {"polychromify": trained.load("polychromify")}
    run = natural.train(settings, datasets, natural.validation(settings, datasets, bundled), test, others)
    print(f"trained: {run.folder}")


def _bundle(arguments):
    files.require_checkout("A bundle")
    from colorize_lib.reproduction import bundle

    part = bundle.size(arguments.part) if arguments.part else None
    written = bundle.bundle(arguments.dataset, arguments.output, arguments.wheels, part)
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:,.0f} MB")
    print(f"On the other machine: cat colorize.tar* | tar xf - && python3.11 {bundle.FOLDER}/run.py PAPER")


def _colorize(arguments):
    from colorize_lib.apps import guided, photographs

    given = {name: getattr(arguments, name) for name in photographs.Settings.__dataclass_fields__}
    given["hints"] = guided.read_hints(arguments.hints) if arguments.hints else ()
    given["kind"] = arguments.kind and arguments.kind.upper()
    settings = photographs.Settings(**given)
    report = photographs.Report()
    # What was colorized goes to standard output where a photograph does not.
    stream = sys.stderr if "-" in arguments.photo and not arguments.output else sys.stdout
    try:
        photographs.colorize_files(
            arguments.photo,
            arguments.model,
            output=arguments.output,
            weights=arguments.weights,
            size=arguments.size,
            existing="overwrite" if arguments.overwrite else "skip" if arguments.skip_existing else "leave",
            settings=settings,
            report=report,
        )
    except KeyboardInterrupt:
        _print_report(report, stream)
        print("Stopped; the same command with --skip-existing colorizes the others.", file=sys.stderr)
        return 130
    _print_report(report, stream)
    return 1 if report.failed or report.left else 0


def _print_report(report, stream):
    parts = ("note", report.notes), ("left alone", report.left.items()), ("error", report.failed.items())
    for kind, lines in parts:
        for photo, text in lines:
            print(printable(f"{kind}: {photo}: {text}"), file=sys.stderr)
    print(printable(report.summary()), file=stream)


def _convert(arguments):
    from colorize_lib.apps import public_weights

    source = arguments.source
    if source in public_weights.FILES:
        source = public_weights.download(source)
    print(f"Wrote {public_weights.convert(source, arguments.output)}")


def _place(arguments):
    from colorize_lib.apps.web.server import Place

    return Place(**{name: getattr(arguments, name) for name in Place.__dataclass_fields__})


def _app(arguments):
    import data_prep
    from colorize_lib.apps.web import photos

    photos.serve(data_prep.photographs(), arguments.run, _place(arguments))


def _turing_test(arguments):
    import data_prep
    from colorize_lib.apps import turing
    from colorize_lib.apps.web import turing as page

    store = turing.Store(arguments.store)
    if arguments.export:
        print(f"{store.export(arguments.export)} answers in {arguments.export}")
    if arguments.statistics:
        for line in (turing.HEADINGS, *turing.table(turing.statistics(store.answers()))):
            print(" | ".join(line))
    if not arguments.export and not arguments.statistics:
        if arguments.dataset != "photos":
            pictures = data_prep.drawn_photographs(arguments.dataset, arguments.images)
        else:
            # A network that was trained here may have seen the others.
            pictures = data_prep.photographs(*(["test"] if arguments.run else []))
            pictures = random.Random(0).sample(pictures, min(arguments.images, len(pictures)))
        page.serve(pictures, store, arguments.run, _place(arguments))


def _results(arguments):
    files.require_checkout("Writing the results' documents")
    from colorize_lib.reproduction import gallery, results

    for folder in arguments.run:
        print(f"collected {results.collect(folder)}")
    gallery.write()


def _rescore(arguments):
    files.require_checkout("Rescoring")
    from colorize_lib.apps import public_weights, trained
    from colorize_lib.reproduction import rescore
    from colorize_lib.training.colorizer import Colorizer
    from data_prep import load

    name, options, manifest = rescore.options(arguments.run)
    public = {}
    if manifest["notebook"] == "polychromify":
        there = [name for name in public_weights.FILES if public_weights.weights_path(name).exists()]
        public = {name: Colorizer(public_weights.pretrained(name, **options), "zhang") for name in there}
    scores, table = rescore.rescore(
        arguments.run,
        load(name, **options),
        trained.build_trained,
        photos=load("photos", size=256)["test"],
        public=public,
        keep=arguments.keep,
    )
    images, gray = scores.images
    print(f"{images:,} test images, {gray} of them without colour; the {scores.keep} epoch is scored\n")
    for part in (scores.table(), table, rescore.claims_table(arguments.run, arguments.keep)):
        print(f"{part.to_string()}\n")


def _add_page(command, run):
    option = command.add_argument
    option("--run", action="append", type=os.path.abspath, default=[], metavar="FOLDER", help=run)
    option("--port", type=number(int, 1, 65535), default=8866, help="default: %(default)s")
    visitors = "requests at once, at most (default: %(default)s)"
    option("--visitors", type=number(int, 1, 1000), default=24, metavar="N", help=visitors)
    public = "name by which a reverse proxy on this machine makes the page known; may be repeated"
    option("--public-name", action="append", default=[], dest="public_names", metavar="HOST", help=public)
    option("--no-browser", dest="browser", action="store_false", help="do not open the browser")
    open_to_others = "let other machines in, without a password or encryption"
    option("--open-to-others", action="store_true", help=open_to_others)


def _add_colorize(command):
    option = command.add_argument
    photo = "file, folder, pattern in quotation marks, film, or - for standard input"
    option("photo", nargs="+", metavar="PHOTO", help=photo)
    model = "name of a network, or folder of a trained one (default: the bundled network)"
    option("-m", "--model", help=model)
    output = "folder of the results (default: next to the photo, as NAME-colorized)"
    option("-o", "--output", metavar="DIR", help=output)
    option("--weights", metavar="FILE", help="weights of a run (default: the bundled ones)")
    size = "side of the network's input in pixels (default: the network's own)"
    option("--size", type=number(int, 8, 4096), help=size)
    saturation = "factor on the predicted colour (default: 1)"
    option("--saturation", type=number(float, 0, 4), default=1.0, help=saturation)
    vivid = "from 0, careful, to 1, vivid, for networks with this range (default: the network's own)"
    option("--vivid", type=number(float, 0, 1), help=vivid)
    option("--side-by-side", action="store_true", help="write gray and colorized next to each other")
    hints = "colours of points, one a line: X Y #RRGGBB, X and Y from 0 to 1 (-m siggraph17)"
    option("--hints", metavar="FILE", help=hints)
    existing = command.add_mutually_exclusive_group().add_argument
    existing("--skip-existing", action="store_true", help="skip photos that have a result already")
    overwrite = "replace results that this command made there from the same photo"
    existing("--overwrite", action="store_true", help=overwrite)
    option("--first-page", action="store_true", help="colorize only the first page or frame of a file that has several")
    option("--tolerant", action="store_true", help="colorize what there is of a file that ends early")
    kinds = [kind.lower() for kind in _WRITABLE]
    option("--format", dest="kind", choices=kinds, help="format of the results (default: each photo's own)")
    quality = "quality of JPEG, WebP, AVIF and HEIC (default: each photo's own, or 95)"
    option("--quality", type=number(int, 1, 100), help=quality)
    memory = "memory that the photos being colorized may take (default: 4)"
    option("--memory", type=number(float, 0.1, 1024), default=4.0, metavar="GB", help=memory)
    option("--keep-dates", action="store_true", help="give the results the dates of the photos' files")


def _parser():
    parser = argparse.ArgumentParser(prog="python -m colorize_lib", description="Learned image colorization in Keras.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, call, help):
        command = commands.add_parser(name, help=help)
        command.set_defaults(call=call)
        return command

    command = add("reproduce", _reproduce, "run a paper's notebook and print its results next to the paper's")
    paper = f"{', '.join(papers.KEYS)}; all: one after another"
    paper += "; comparison: all designs on equal terms; natural: train the bundled colorizer"
    command.add_argument("paper", help=paper)
    command.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="such as PROFILE=paper EPOCHS=3 SEEDS=3")

    command = add("bundle", _bundle, "one archive of code, wheels and data for a machine without network")
    command.add_argument("dataset", nargs="+", help="prepared datasets to include, such as photos")
    command.add_argument("-o", "--output", metavar="DIR", default="bundle", help="(default: %(default)s)")
    command.add_argument("--wheels", metavar="DIR", default="wheelhouse", help="(default: %(default)s)")
    command.add_argument("--part", metavar="SIZE", help="write parts of at most this size, such as 500M")

    _add_colorize(add("colorize", _colorize, "colorize photographs, or the frames of a film"))
    add("models", _models, "list the networks: numbers of parameters, papers, where their weights are")

    command = add("convert", _convert, "convert the public weights of eccv16 or siggraph17 to Keras")
    command.add_argument("source", help="eccv16 or siggraph17 to download the public file, or a .pth file")
    command.add_argument("-o", "--output", help="file to write, .weights.h5 (default: in the data home)")

    command = add("app", _app, "colorize photographs by a click: a page on this machine")
    _add_page(command, "run folder whose networks are offered next to the bundled ones; may be repeated")

    command = add("turing-test", _turing_test, "the Turing test of VAC+GAN: a page on this machine")
    _add_page(command, "run folder whose networks are tested instead of the default one; may be repeated")
    dataset = "dataset whose test images are shown (default: the bundled photographs)"
    command.add_argument("--dataset", default="photos", help=dataset)
    images = "number of images, at most (default: %(default)s)"
    command.add_argument("--images", type=number(int, 1, 1_000_000), default=500, metavar="N", help=images)
    command.add_argument("--store", metavar="FILE", help="SQLite file of the answers (default: among the runs)")
    command.add_argument("--statistics", action="store_true", help="print the statistics, serve nothing")
    command.add_argument("--export", metavar="FILE", help="write all answers to a CSV file, serve nothing")

    command = add("rescore", _rescore, "score the networks of a run folder, or of a folder of results/, again")
    command.add_argument("run", metavar="FOLDER", help="such as results/polychromify or runs/polychromify/KEY")
    command.add_argument("--keep", choices=("last", "best"), default="last", help="the epoch to show (default: last)")

    command = add("results", _results, "collect finished runs into results/, and write the documents that show them")
    command.add_argument("run", nargs="*", help="run folders to collect first")
    return parser


def main(arguments=None):
    """Run one command and return its `exit_status`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parsed = _parser().parse_args(arguments)
    return exit_status(lambda: parsed.call(parsed))


def colorize():
    """The command `colorize PHOTO`, which is `python -m colorize_lib colorize PHOTO`."""
    return main(["colorize", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
