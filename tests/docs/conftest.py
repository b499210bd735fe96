"""The modules that build the site are imported as the build does, from docs/hooks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "hooks"))
