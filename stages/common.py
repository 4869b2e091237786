"""Shared by all stage commands: parameter options and project paths."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpnet.core.choices import OneOf
from hpnet.params import Params, load_params, option_flag, validate, whole_flag
from hpnet.project.folder import Project
from hpnet.work.locks import held

PROJECT = Project()


def hold(*outs: Path) -> None:
    """:func:`hpnet.work.locks.held` until the command ends."""
    click.get_current_context().with_resource(held(outs, PROJECT.work / "locks"))


def warn_unsuited(stage: str, model: str, figures: Mapping[str, Any]) -> None:
    """Say on stderr that the network of a stage does not suit the people of the run, where its figures show it."""
    from hpnet.weights.suitability import compare

    found = compare(stage, model, figures)
    if found is not None and not found.suits:
        click.echo(f"warning: {found.warning}", err=True)


def section_options(*sections: str, whole: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--params-file`` and one option per parameter of ``sections``; it receives ``params``.

    An option given on the command line overrides params.yaml for that run. Parameters of nested sections are joined
    with dashes (``--topology-epochs``).

    Args:
        whole: options begin with their section (``--train-topology-epochs``), so that those of several cannot clash.
    """
    flag = whole_flag if whole else option_flag

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names: dict[str, str] = {}

        @functools.wraps(function)
        def command(*args: Any, params_file: str | None, **kwargs: Any) -> Any:
            given = {dotted: kwargs.pop(option) for option, dotted in names.items()}
            overrides = {dotted: value for dotted, value in given.items() if value is not None}
            return function(*args, params=read_params(params_file, overrides, flag), **kwargs)

        decorated: Callable[..., Any] = command
        for section in reversed(sections):
            model = Params.model_fields[section].annotation
            assert isinstance(model, type)
            for path, field in reversed(list(_leaves(model))):
                dotted = ".".join((section, *path))
                option = flag(dotted).removeprefix("--").replace("-", "_")
                names[option] = dotted
                decorated = _option(flag(dotted), option, field, dotted)(decorated)
        file_help = "Parameter file.  [default: params.yaml of this folder]"
        return click.option("--params-file", type=click.Path(dir_okay=False), help=file_help)(decorated)

    return decorate


def value_options(*dotted_names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each of these parameters, ``--detect-model`` for ``detect.model``.

    It receives ``values``: name -> value of those that were given.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> Any:
            given = {name: kwargs.pop(name.replace(".", "_")) for name in dotted_names}
            return function(*args, values={name: v for name, v in given.items() if v is not None}, **kwargs)

        decorated: Callable[..., Any] = command
        for name in reversed(dotted_names):
            section, *path = name.split(".")
            model = Params.model_fields[section].annotation
            assert isinstance(model, type)
            field = dict(_leaves(model))[tuple(path)]
            decorated = _option(whole_flag(name), name.replace(".", "_"), field, name)(decorated)
        return decorated

    return decorate


def read_params(file: str | None, overrides: dict[str, Any], flag: Callable[[str], str] = option_flag) -> Params:
    """params.yaml with overrides; the defaults if the folder has no params.yaml and no file was given."""
    try:
        if file is None and not Path("params.yaml").is_file():
            click.echo("no params.yaml in this folder: every parameter has its default", err=True)
            return validate({}, "defaults", overrides, flag)
        return load_params(file or "params.yaml", overrides, flag)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def was_given(context: click.Context, option: str) -> bool:
    """Whether an option was on the command line."""
    return context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field


def _option(flag: str, name: str, field: FieldInfo, dotted: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    text = f"{field.description}." if field.description else ""
    text = f"{text[:1].upper()}{text[1:]} [{dotted}]".strip()
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    for choices in (part for part in field.metadata if isinstance(part, OneOf)):
        return click.option(flag, name, type=click.Choice(choices.names), help=text)
    if get_origin(field.annotation) is Literal:
        return click.option(flag, name, type=click.Choice(get_args(field.annotation)), help=text)
    parse = _parse_tuple if get_origin(field.annotation) is tuple else _parse_value
    if any(get_origin(kind) is tuple for kind in get_args(field.annotation)):
        parse = _parse_value_or_tuple
    return click.option(flag, name, callback=parse, metavar="VALUE", help=text)


def _parse_value(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """A number, a text, or a mapping written ``name=number,name=number``."""
    if value is None:
        return None
    if not value.strip():
        return ""  # keep an empty value: a parameter that needs a number refuses it, but YAML would give the default
    if "=" in value:
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): _read(number, value) for name, _, number in pairs}
    parsed = _read(value, value)
    # YAML 1.1 reads 1e-3 as a string and off as a boolean; parameters that hold text keep their text.
    if isinstance(parsed, str):
        try:
            return float(parsed)
        except ValueError:
            return parsed
    return value if isinstance(parsed, bool) else parsed


def _parse_tuple(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    return None if value is None else [_read(part, value) for part in value.strip("[]()").split(",") if part.strip()]


def _parse_value_or_tuple(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """A list if there is a comma, such as ``1,2,3`` or ``[1, 2, 3]``."""
    return (_parse_tuple if value and "," in value else _parse_value)(context, parameter, value)


def _read(text: str, value: str) -> Any:
    """A part of an option's value, read as YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date such as 2020-13-45
        raise click.BadParameter(
            f"{value!r} cannot be read: expected a number, a text or a list such as 1,2,3"
        ) from None


device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
backend_option = click.option(
    "--backend",
    type=click.Choice(OneOf("hpnet.estimate.backends:BACKENDS").names),
    help="What runs detector and pose network.  [default: detect.backend and estimate.backend]",
)
workers_option = click.option(
    "--workers", type=click.IntRange(1), help="Processes.  [default: one per core, or up to four per GPU]"
)
engine_option = click.option(
    "--engine",
    type=click.Choice(OneOf("hpnet.work.shards:ENGINES").names),
    default="local",
    show_default=True,
    help="local, or ray (an extra).",
)
