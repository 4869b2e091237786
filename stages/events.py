"""``hpnet events``: how events are found in untrimmed videos, and how right they are."""

from __future__ import annotations

import click

from hpnet.params import Params

from .common import PROJECT, device_option, hold, section_options


@click.command("events")
@section_options("events")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@device_option
def command(params: Params, precision: str, device: str) -> None:
    """Find the events of the untrimmed videos, as `hpnet predict --events` does, and measure them.

    Durations and background are learnt from the videos of train and val, where there are any; then `hpnet predict
    --events` uses them too.
    """
    from hpnet.artifacts.takes import Takes

    Takes.load(PROJECT.data)  # refused before torch is imported

    from hpnet.events.step import Networks, run
    from hpnet.predict.untrimmed import Watcher

    hold(PROJECT.events)
    watcher = Watcher(PROJECT.root, params.events.window, device, precision)
    networks = Networks(watcher.classes, watcher.plain, watcher)
    done = run(params.events, networks, PROJECT.root, PROJECT.events, PROJECT.metrics / "events.json")
    if not done.takes:
        click.echo(f"learnt from {done.learnt} videos, none to test")
        return
    found, windows = done.metrics["events"], done.metrics["windows"]
    click.echo(
        f"{done.takes} test videos, learnt from {done.learnt}: mAP@0.5 {found.get('map_50', 0):.1%} (sliding windows "
        f"{windows.get('map_50', 0):.1%}), F1@50 {found['f1_50']:.1%}, idle time with an action "
        f"{found.get('idle_with_action', 0):.1%}"
    )
