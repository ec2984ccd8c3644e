"""`python -m jaxlabel` is `jaxlabel`."""

from jaxlabel.cli.main import main

main()
