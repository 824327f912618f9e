"""``python -m peer`` is ``playcast``."""

import sys

from peer.cli import main

if __name__ == "__main__":
    sys.exit(main())
