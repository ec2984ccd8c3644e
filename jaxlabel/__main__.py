"""`python -m jaxlabel` is `jaxlabel`."""

from jaxlabel.cli import main

main()
