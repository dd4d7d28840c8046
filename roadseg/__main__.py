"""`python -m roadseg`, for launchers that take a module: `torchrun -m roadseg train`."""

from roadseg.cli.app import main

main()
