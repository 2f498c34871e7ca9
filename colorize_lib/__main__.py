"""The command line: `python -m colorize_lib --help`."""

import argparse
import os
import sys

from colorize_lib.errors import InputError


def _models(arguments):
    from colorize_lib import models

    print(f"{'name':<24}{'paper':<16}parameters")
    for name in models.names():
        print(f"{name:<24}{models.entry(name).paper:<16}{models.build(name).count_params():,}")


def _reproduce(arguments):
    from colorize_lib.reproduce import reproduce

    reproduce(arguments.paper, arguments.parameters)


def _colorize(arguments):
    from colorize_lib.photographs import colorize_files

    failed = colorize_files(
        arguments.photo,
        arguments.model,
        output=arguments.output,
        weights=arguments.weights,
        size=arguments.size,
        saturation=arguments.saturation,
        side_by_side=arguments.side_by_side,
    )
    for photo, reason in failed.items():
        print(f"error: {photo}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _results(arguments):
    from colorize_lib import gallery, results

    for folder in arguments.run:
        print(f"collected {results.collect(folder)}")
    results.write_readme()
    gallery.write()


def _parser():
    parser = argparse.ArgumentParser(prog="python -m colorize_lib", description="Learned image colorization in Keras.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("reproduce", help="run a paper's notebook and print its results beside the paper's")
    command.add_argument("paper", help="polychromify, autoencoders, unet, resnet-mrf or vacgan")
    command.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="such as PROFILE=paper EPOCHS=3")
    command.set_defaults(call=_reproduce)
    command = commands.add_parser(
        "colorize", help="colorize photographs: files, folders, patterns, or - for standard input"
    )
    command.add_argument("photo", nargs="+", metavar="PHOTO")
    command.add_argument("-m", "--model", default="polychromify", help="name of the network (default: %(default)s)")
    command.add_argument(
        "-o", "--output", metavar="DIR", help="folder of the results (default: beside the photo, NAME-colorized)"
    )
    command.add_argument(
        "--weights", metavar="FILE", help="weights of a run (default: those that come with the project)"
    )
    command.add_argument("--size", type=int, help="side of the network's input in pixels (default: the network's own)")
    command.add_argument("--saturation", type=float, default=1.0, help="factor on the predicted colour (default: 1)")
    command.add_argument("--side-by-side", action="store_true", help="write gray and colorized beside each other")
    command.set_defaults(call=_colorize)
    command = commands.add_parser("models", help="list the networks, with their papers and numbers of parameters")
    command.set_defaults(call=_models)
    command = commands.add_parser(
        "results", help="collect finished runs into results/, and write README's tables and results/index.html anew"
    )
    command.add_argument("run", nargs="*", help="run folders to collect first")
    command.set_defaults(call=_results)
    return parser


def main(arguments=None):
    """Run one command and return its exit status; an `InputError` is printed as one line and gives 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.call(parsed) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on after the last finished epoch.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
