"""Files of settings."""

import tomllib
from pathlib import Path
from typing import Any


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or an error that says what is wrong with it."""
    try:
        data = path.read_bytes()
        marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Windows writes it
        return tomllib.loads(data.decode("utf-16" if marked else "utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no settings file {str(path)!r}.") from None
    except UnicodeDecodeError:
        raise ValueError(
            f"The settings file {str(path)!r} cannot be read: it is not UTF-8, as which to save it."
        ) from None
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"The settings file {str(path)!r} cannot be read: {why}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The settings file {str(path)!r} is not valid TOML: {error}") from None
