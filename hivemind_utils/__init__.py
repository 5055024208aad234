"""Measure how alike language models answer open-ended questions, with the controls that settle the argument.

Importing the package is instant; each module imports its heavy libraries where it uses them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hivemind-utils")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
