"""What is kept on disk for the next process: downloads, and compiled programs."""

import hashlib
import os
import platform
from pathlib import Path

from ngnmm_jax._core import checks as _checks


def keep_compiled(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk from now on, and use those that are there.

    The command `ngnmm` does this by itself. In a folder of this library's choice programs are
    kept apart by version of JAX and kind of processor, for which machine code is made. Programs
    that call the host are not kept: adaptive `simulate` is one of these, through checks of
    Equinox, unless the environment variable EQX_ON_ERROR is "nan" when it is imported (a failed
    check then gives NaN, which a status reports).

    **Arguments:**

    - `folder`: by default the one that the environment variable JAX_COMPILATION_CACHE_DIR names,
      or else `compiled` in that of NGNMM_JAX_CACHE, or in the user's cache folder.

    Returns the folder in use. It may be deleted at any time.
    """
    import jax

    named = None if folder else os.environ.get("JAX_COMPILATION_CACHE_DIR")
    base = _checks.path("folder", folder) if folder else cache_folder() / "compiled"
    path = Path(named) if named else base / f"jax-{jax.__version__}-{_processor()}"
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # the small ones too
    return path


def cache_folder() -> Path:
    """Where this library keeps files: NGNMM_JAX_CACHE, or the user's cache folder."""
    chosen = os.environ.get("NGNMM_JAX_CACHE")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if platform.system() == "Darwin":
        return home / "Library" / "Caches" / "ngnmm_jax"
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "ngnmm_jax"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "ngnmm_jax"


def _processor() -> str:
    """A short name of this kind of processor: machine code for another one may not run."""
    described = platform.machine() + platform.processor()
    flags = Path("/proc/cpuinfo")
    if flags.is_file():
        lines = flags.read_text(errors="replace").splitlines()
        described += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(described.encode()).hexdigest()[:12]
