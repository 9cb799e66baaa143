"""Run the command line as ``python -m cube``."""

import sys

from cube.cli.command_line import main

sys.exit(main())
