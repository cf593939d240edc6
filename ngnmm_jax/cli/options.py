"""Commands out of functions: their options are their settings' fields."""

import contextlib
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from ngnmm_jax._core import progress as _progress
from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.output import kept_in, lines, say
from ngnmm_jax.cli.settings.network import NetworkSettings, Option, SourceSettings

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of settings, as written beside every output; options win."),
]
Out = Annotated[Path, typer.Option(help="Folder for the output, made if needed.")]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Import the files of models that settings name.")
]
Resume = Annotated[
    bool, typer.Option("--resume/--restart", help="Go on where it stopped, or remove it first.")
]


# What the command line gives where an option is not given.
_NOTHING: tuple[Any, ...] = (None, [])


def command(
    app: typer.Typer,
    schema: type[SourceSettings],
    *,
    without: tuple[str, ...] = (),
    computes: bool = True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of `settings` (and of options of its own) a command of the app.

    `without`: settings that are no options of it; "config": it takes no file of them. `computes`:
    it needs JAX, which is made ready once the settings are known to be sound.
    """
    options = {k: _parameter(k, schema) for k in schema.model_fields if k not in without}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function).parameters.values() if p.name != "settings"]
        extra: dict[str, Any] = {} if "config" in without else {"config": Config}
        if issubclass(schema, NetworkSettings):
            extra["allow_code"] = AllowCode
        common = [
            inspect.Parameter(key, own[0].kind, default=False if key == "allow_code" else None,
                              annotation=kind)
            for key, kind in extra.items()
        ]  # fmt: skip

        @functools.wraps(function)
        def run(**given: Any) -> None:
            # Without a file of them all settings are options.
            typed = [k for k in options if given.get("config") is None or given[k] not in _NOTHING]
            with kept_in(), lines(), as_typed(schema, typed):
                parsing.allow_code(given.get("allow_code", False))
                values = {key: _given(key, schema, given[key]) for key in options}
                settings = schema.merge(given.get("config"), values)
                if computes:
                    prepare()
                function(settings=settings, **{p.name: given[p.name] for p in own})

        every = [own[0], *common, *options.values(), *own[1:]]
        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in every}
        app.command(schema.command)(run)
        return function

    return decorate


@contextlib.contextmanager
def as_typed(schema: type[SourceSettings], names: list[str]) -> Iterator[None]:
    """What errors say of settings, said of their options: of `vary.x` as of `--vary x`."""

    def option(found: re.Match[str]) -> str:
        name, _, inner = found[1].partition(".")
        return f"`{f'{_flag(name, schema)} {inner}'.strip()}`"

    try:
        yield
    except ValueError as error:
        said = str(error)
        forms = [name + r"(?:\.\w+)?" * bool(_how(name, schema).parse) for name in names]
        if forms and error.args == (said,):
            error.args = (re.sub(rf"`({'|'.join(forms)})`", option, said),)
        raise


#: Whether compiled programs are kept for the next call.
KEEP_COMPILED = True


def interruptible(function: Callable[..., None]) -> Callable[..., None]:
    """A command that is a function with options of its own, which says something meanwhile."""

    @functools.wraps(function)
    def run(**given: Any) -> None:
        with kept_in(), lines():
            parsing.allow_code(given.get("allow_code", False))
            function(**given)

    return run


def prepare() -> None:
    """JAX as all commands use it: 64 bits, all processors, programs kept for the next call."""
    # XLA complains about its own tuning hints in cached programs; and Equinox's checks, which
    # programs on disk cannot hold, give NaN, which statuses report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    _progress.LINES = True
    jax.config.update("jax_enable_compilation_cache", KEEP_COMPILED)
    if not KEEP_COMPILED:
        return
    from ngnmm_jax._core.cache import keep_compiled

    try:
        keep_compiled()
    except OSError as error:
        say(f"Compiled programs are not kept: {error}.")


def _how(name: str, schema: type[SourceSettings]) -> Option:
    metadata = schema.model_fields[name].metadata
    return next(item for item in metadata if isinstance(item, Option))


def _flag(name: str, schema: type[SourceSettings]) -> str:
    """How a setting is called on the command line."""
    flag = _how(name, schema).flag
    return f"--{name.replace('_', '-')}" if flag is None else flag.partition("/")[0]


def _given(name: str, schema: type[SourceSettings], value: Any) -> Any:
    """A setting out of what the command line gave; None where it gave nothing."""
    parse = _how(name, schema).parse
    if value in _NOTHING:
        return None
    return value if parse is None else parse(value)


def _parameter(name: str, schema: type[SourceSettings]) -> inspect.Parameter:
    how = _how(name, schema)
    flags = () if how.flag is None else (how.flag,)
    text = how.help + _default(schema.model_fields[name].default)
    option = typer.Option(*flags, help=text, metavar=how.metavar)
    kind = list[str] if how.parse else _plain(schema.model_fields[name].annotation)
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation
    )


def _default(value: Any) -> str:
    """What an option's help says of its default: that of the schema, if it is one to be said."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
        return ""
    text = value if isinstance(value, str) else f"{value:g}".replace("e-0", "e-")
    return f" Default: {text}."


def _plain(kind: Any) -> Any:
    """What Typer makes of a setting's type: one of its own types, or a list of it."""
    if get_origin(kind) is Literal:
        return str
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is list:
        return list[_plain(parts[0])]  # type: ignore[misc]
    return _plain(parts[0]) if parts else kind
