"""Files of settings."""

import tomllib
from pathlib import Path
from typing import Any


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or an error that says what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no settings file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The settings file {str(path)!r} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The settings file {str(path)!r} is not valid TOML: {error}") from None
