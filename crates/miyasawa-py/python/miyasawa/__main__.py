"""The program ``miyasawa``: ``python -m miyasawa``."""

import signal
import sys

from . import _miyasawa


def main() -> None:
    """Runs the command line of this process and ends with its exit status."""
    # As for any program: Ctrl-C ends it, unless the command stops by itself with a checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_miyasawa.run(["miyasawa", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
