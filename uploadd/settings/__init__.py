"""Every setting: in its section below here, by ``declare.py``, of the kinds of ``kinds.py``."""

from uploadd.settings.declare import Section, Setting, sections_of
from uploadd.settings.kinds import Secret
from uploadd.settings.sections import Config

__all__ = ["SECTIONS", "Config", "Secret", "Section", "Setting", "sections_of"]

SECTIONS = sections_of(Config)
