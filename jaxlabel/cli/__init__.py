"""The command line: parse the flags of a `jaxlabel` command and call the function behind it."""
