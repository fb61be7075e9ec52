"""The operations, one family a file; each lists its public names in ``__all__``."""

import types
import typing

from .activation import *
from .attention import *
from .contraction import *
from .elementwise import *
from .grid import *
from .indexing import *
from .loss import *
from .neighborhood import *
from .normalize import *
from .order import *
from .products import *
from .random import *
from .reduce import *
from .shape import *
from .similarity import *

if not typing.TYPE_CHECKING:  # type checkers follow the star imports, and know only lists that are written out
    __all__ = [name for name, it in globals().items() if name[0] != "_" and not isinstance(it, types.ModuleType)]
