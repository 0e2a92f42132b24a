"""`python -m pipeline.cli` is `reprise`, with the code of the folder that one stands in."""

from pipeline.cli import main

main()
