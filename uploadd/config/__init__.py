"""Configuration: text in, one frozen ``Config`` out.  Pure: reading files is the caller's.

``layers`` tells what was given and by whom, ``loading`` makes the configuration of it,
``problems`` says what is wrong, ``written`` says it again as text.
"""

from uploadd.config.layers import FLAGS, Sources
from uploadd.config.loading import Loaded, changed, load, reloaded, settle
from uploadd.config.problems import ConfigError, Place, Problem
from uploadd.config.written import default_file, effective
from uploadd.settings import Config

__all__ = [
    "FLAGS",
    "Config",
    "ConfigError",
    "Loaded",
    "Place",
    "Problem",
    "Sources",
    "changed",
    "default_file",
    "effective",
    "load",
    "reloaded",
    "settle",
]
