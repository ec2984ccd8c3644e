"""The command line: `jaxlabel COMMAND --flag=value ...`. Nothing heavy is imported before it must.

Whatever the user got wrong is one line on standard error and exit code 2; what went wrong on the
way (a full disk, an exhausted budget) is one line and exit code 1.
"""

import os
import sys
from collections.abc import Callable, MutableMapping, Sequence

from jaxlabel.errors import JaxlabelError, UsageError, did_you_mean

USAGE = """jaxlabel: the most accurate image classifier for the fewest label queries

usage: jaxlabel COMMAND [--flag=value ...]

  train           buy labels, train, evaluate, and write a report
  label           label pictures on a local web page while the run trains
  sweep           run an experiment's grid side by side, into tables and figures
  predict         label images with a finished run's model
  report          write report.html again from a work directory
  ledger          print what was spent on which labels
  answer          import a person's answers (CSV) into a run's label store
  data info       counts, shapes, duplicates and a sheet of samples
  data explore    a page of samples, maps, clusters and their scores
  data prepare    prepare mnist, fashion_mnist or cifar10 for tfds:NAME

Each command explains itself: jaxlabel COMMAND --help"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    settle_xla(os.environ)
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(run(arguments))


def settle_xla(environment: MutableMapping[str, str]) -> None:
    """Sets, before JAX starts, how XLA compiles; what the user has set stays."""
    if not os.path.exists("/dev/nvidiactl"):
        # LLVM's third level takes XLA's CPU backend 5 times longer to compile random numbers
        # (2.5 s for each shape of a draw, jax 0.10.2) and makes nothing here run faster.
        own = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {own}".strip()
    cache = os.path.join(os.path.expanduser("~"), ".cache", "jaxlabel", "xla")
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def run(arguments: list[str]) -> int:
    """The exit code of one command; every expected failure becomes one line."""
    try:
        command, rest = _command(arguments)
        command(rest)
    except JaxlabelError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from here", 130)
    except MemoryError as error:
        return _fail(f"out of memory: {error or 'take smaller images or fewer of them'}", 1)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # as JAX, which is not imported here, says it
            raise
        return _fail("out of the device's memory: a training takes smaller batches (--config."
                     "batch_size, pretext_batch), fewer networks at once (members, pretext_seeds) "
                     "or another preset, in another --workdir; --config.store=URL keeps the labels "
                     f"({str(error).splitlines()[0]})", 1)  # fmt: skip
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'no file named'}", 1)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"jaxlabel: {' '.join(message.split())}", file=sys.stderr)
    return code


def _command(arguments: list[str]) -> tuple[Callable[[list[str]], None], list[str]]:
    from jaxlabel.cli import commands

    if not arguments or arguments[0] in ("help", "--help", "-h", "-help"):
        return lambda rest: print(USAGE), []
    if arguments[0] == "--version":
        return lambda rest: commands.version(), []
    if arguments[0] == "data" and (len(arguments) == 1 or arguments[1].startswith("-")):
        asked = any(word in ("--help", "-h", "-help") for word in arguments)
        if not asked:
            raise UsageError("data is one of data info, data explore, data prepare")
        return lambda rest: print(USAGE), []
    known: dict[str, Callable[[list[str]], None]] = {
        "train": commands.train,
        "label": commands.label,
        "sweep": commands.sweep,
        "predict": commands.predict,
        "report": commands.report,
        "ledger": commands.ledger,
        "answer": commands.answer,
        "data info": commands.data_info,
        "data explore": commands.data_explore,
        "data prepare": commands.data_prepare,
    }
    for words in (1, 2):
        name = " ".join(arguments[:words])
        if name in known:
            return known[name], arguments[words:]
    raise UsageError(f"there is no command {arguments[0]!r}{did_you_mean(arguments[0], known)}; "
                     "jaxlabel --help lists them")  # fmt: skip


if __name__ == "__main__":
    main()
