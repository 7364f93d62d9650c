"""Who asks, and what they may."""

from uploadd.auth.access import Access as Access
from uploadd.auth.access import Operation as Operation
from uploadd.auth.access import ends as ends
from uploadd.auth.access import lists_everybody as lists_everybody
from uploadd.auth.access import takes_strangers as takes_strangers
from uploadd.auth.who import NOBODY as NOBODY
from uploadd.auth.who import PROVEN as PROVEN
from uploadd.auth.who import Who as Who
from uploadd.auth.who import anonymous as anonymous
from uploadd.auth.who import is_anonymous as is_anonymous
from uploadd.auth.who import is_of as is_of
from uploadd.auth.who import is_proven as is_proven
