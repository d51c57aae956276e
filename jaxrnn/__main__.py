"""Runs the `jaxrnn` command as ``python -m jaxrnn``."""

import sys

from jaxrnn.cli import main

sys.exit(main())
