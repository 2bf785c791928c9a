"""`python -m hpoq` runs the command `hpoq`."""

import importlib

# By name, because the function does not depend on the command line.
importlib.import_module("hpoqctl").main()
