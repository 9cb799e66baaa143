"""Start a program of the box: python3 -IB /usr/local/lib/cube/guest MODULE ARGUMENT...

MODULE is "health.layers", for example; its `main` returns the exit code.
"""

import importlib
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # -I adds nothing else of ours
module = importlib.import_module(f"guest.{sys.argv.pop(1)}")
sys.exit(module.main())
