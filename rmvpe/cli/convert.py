"""`rmvpe convert`: the same commands and flags as `python -m convert`."""

import importlib.util

from rmvpe.errors import UserError

spec = importlib.util.find_spec("convert")
if spec is None or spec.submodule_search_locations is None:
    # Looked up before it is imported: a user's own convert.py is not to be run
    where = "is not installed" if spec is None else f"is hidden by {spec.origin}"
    raise UserError(f"the package convert of rmvpe {where}: rename that file, or run rmvpe in another folder")

from convert.program import GROUP  # noqa: E402

__all__ = ["GROUP"]
