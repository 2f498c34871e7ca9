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


def _results(arguments):
    from colorize_lib import results

    for folder in arguments.run:
        print(f"collected {results.collect(folder)}")
    results.write_readme()


def _parser():
    parser = argparse.ArgumentParser(prog="python -m colorize_lib", description="Learned image colorization in Keras.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("reproduce", help="run a paper's notebook and print its results beside the paper's")
    command.add_argument("paper", help="polychromify, autoencoders, unet, resnet-mrf or vacgan")
    command.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="such as PROFILE=paper EPOCHS=3")
    command.set_defaults(call=_reproduce)
    command = commands.add_parser("models", help="list the networks, with their papers and numbers of parameters")
    command.set_defaults(call=_models)
    command = commands.add_parser("results", help="collect finished runs into results/ and write README's table anew")
    command.add_argument("run", nargs="*", help="run folders to collect first")
    command.set_defaults(call=_results)
    return parser


def main(arguments=None):
    """Run one command; an `InputError` is printed as one line and gives status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parsed = _parser().parse_args(arguments)
    try:
        parsed.call(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on after the last finished epoch.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
