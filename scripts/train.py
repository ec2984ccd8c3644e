"""`python scripts/train.py --config=...` is `jaxlabel train`, for those who launch scripts."""

import sys

from jaxlabel.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
