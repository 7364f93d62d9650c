"""The tree of errors: by fault, then by remedy.  No HTTP and no WebSocket here.

How each one is said on each wire stands in one table, ``protocol/answers.py``; a test walks
the subclasses of this tree and fails when the table does not name one.
"""

from uploadd.errors.asked import AlreadyComplete as AlreadyComplete
from uploadd.errors.asked import BadMessage as BadMessage
from uploadd.errors.asked import BadRequest as BadRequest
from uploadd.errors.asked import ChecksumUnsupported as ChecksumUnsupported
from uploadd.errors.asked import CreditExceeded as CreditExceeded
from uploadd.errors.asked import DigestMismatch as DigestMismatch
from uploadd.errors.asked import Forbidden as Forbidden
from uploadd.errors.asked import Gone as Gone
from uploadd.errors.asked import HeadTooLarge as HeadTooLarge
from uploadd.errors.asked import HostNotAllowed as HostNotAllowed
from uploadd.errors.asked import LengthConflict as LengthConflict
from uploadd.errors.asked import LengthExceeded as LengthExceeded
from uploadd.errors.asked import MethodNotAllowed as MethodNotAllowed
from uploadd.errors.asked import NotAppendable as NotAppendable
from uploadd.errors.asked import NotFound as NotFound
from uploadd.errors.asked import NotImplementedHere as NotImplementedHere
from uploadd.errors.asked import OriginNotAllowed as OriginNotAllowed
from uploadd.errors.asked import OverQuota as OverQuota
from uploadd.errors.asked import PreconditionFailed as PreconditionFailed
from uploadd.errors.asked import RangeNotSatisfiable as RangeNotSatisfiable
from uploadd.errors.asked import Refused as Refused
from uploadd.errors.asked import TokenExpired as TokenExpired
from uploadd.errors.asked import TooLarge as TooLarge
from uploadd.errors.asked import TooMany as TooMany
from uploadd.errors.asked import TooOften as TooOften
from uploadd.errors.asked import TooSlow as TooSlow
from uploadd.errors.asked import TypeNotAllowed as TypeNotAllowed
from uploadd.errors.asked import Unauthorised as Unauthorised
from uploadd.errors.asked import Unsupported as Unsupported
from uploadd.errors.asked import UnsupportedMediaType as UnsupportedMediaType
from uploadd.errors.asked import UpgradeRequired as UpgradeRequired
from uploadd.errors.asked import UpgradeStripped as UpgradeStripped
from uploadd.errors.asked import VersionMismatch as VersionMismatch
from uploadd.errors.base import ClientError as ClientError
from uploadd.errors.base import GoneReason as GoneReason
from uploadd.errors.base import UploadError as UploadError
from uploadd.errors.later import ChecksumMismatch as ChecksumMismatch
from uploadd.errors.later import Conflict as Conflict
from uploadd.errors.later import Draining as Draining
from uploadd.errors.later import HolderStuck as HolderStuck
from uploadd.errors.later import HookFailed as HookFailed
from uploadd.errors.later import Incomplete as Incomplete
from uploadd.errors.later import KeyConflict as KeyConflict
from uploadd.errors.later import NoSpace as NoSpace
from uploadd.errors.later import NotWritable as NotWritable
from uploadd.errors.later import OffsetMismatch as OffsetMismatch
from uploadd.errors.later import ServerBug as ServerBug
from uploadd.errors.later import StoreError as StoreError
from uploadd.errors.later import TakenOver as TakenOver
