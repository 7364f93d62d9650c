"""Hooks: who is asked before something is done, and who is told afterwards."""

from uploadd.hooks.desk import Hooks
from uploadd.hooks.posting import target_of
from uploadd.hooks.program import fault
from uploadd.hooks.receiver import Receiver

__all__ = ["Hooks", "Receiver", "fault", "target_of"]
