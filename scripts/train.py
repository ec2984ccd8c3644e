"""`python scripts/train.py --config=...` is `jaxlabel train`, for those who launch scripts."""

import sys

from jaxlabel import cli

if __name__ == "__main__":
    cli.main(["train", *sys.argv[1:]])
