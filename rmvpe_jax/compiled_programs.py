"""JAX's persistent compilation cache, for our own commands: the next process compiles nothing anew."""

import logging
import platform
import tempfile

import jax

from rmvpe.checkpoint.published import HOME
from rmvpe.compiled_programs import folder_for
from rmvpe.errors import UserError

LOG = logging.getLogger("rmvpe")

FOLDER = "jax_compilation_cache_dir"  # the option of JAX
MIN_SECONDS = 0.1  # of compilation: shorter ones are not worth a file


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, if this process may and JAX has no folder already.

    A folder that cannot be written is a warning; then programs are compiled in each process.
    """
    if getattr(jax.config, FOLDER):
        return
    folder = None
    try:
        folder = folder_for("jax", platform.node() or "this-machine")
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (UserError, OSError) as error:
        reason, place = getattr(error, "strerror", None) or error, "" if folder is None else f" in {folder}"
        text = "compiled programs cannot be kept%s (%s), and each start takes seconds longer: set %s to another folder"
        LOG.warning(text, place, reason, HOME)
        return
    jax.config.update(FOLDER, str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
