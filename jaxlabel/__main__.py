"""Run the command line `jaxlabel` as `python -m jaxlabel`."""

from jaxlabel.cli.main import main

main()
