"""``python -m uploadd``."""

import sys

from uploadd.cli import main

sys.exit(main())
