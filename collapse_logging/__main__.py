"""``python -m collapse_logging`` is the same as ``collapse-logging``."""

import sys

from .cli import main

sys.exit(main())
