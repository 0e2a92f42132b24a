"""What DVC calls: one thin file a stage."""

import signal
import sys

from pipeline import environment

environment.prepare()
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # A stage imports torch, for seconds. Ctrl-C ends it there without a traceback; `stages.run` knows better later.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
