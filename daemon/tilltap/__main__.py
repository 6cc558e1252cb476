"""`python -m tilltap`: the same command, for processes that start another one of themselves."""

from tilltap.cli import main

main()
