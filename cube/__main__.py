"""Run the command line as ``python -m cube``."""

import sys

from cube.cli import main

sys.exit(main())
