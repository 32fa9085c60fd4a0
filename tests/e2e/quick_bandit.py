"""In place of `app` for `python -m`: the same commands, but the bandit may move once a second, not a minute."""

import sys

from app.cli import main
from app.monitor.control import bandit

if __name__ == "__main__":
    bandit.LEAST_PAUSE_US = 1_000_000
    sys.exit(main())
