"""`anymodal plugin install` and `anymodal plugin search`: plugins of others, and our own."""

from __future__ import annotations

import shlex
import sys

import attrs
import click

from anymodal.cli import completion
from anymodal.cli.output import Output, with_output
from anymodal.errors import AnymodalError, PluginError
from anymodal.plugins.described import Described, installed
from anymodal.plugins.directory import directory
from anymodal.plugins.discovery import canonical
from anymodal.plugins.installing import Plan, carry_out, planned
from anymodal.plugins.published import published
from anymodal.progress import task


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completion.installable)
@click.option("--upgrade", is_flag=True, help="Take the newest version, of what is installed too.")
@click.option("--dry-run", is_flag=True, help="Say what would be installed, and do nothing else.")
@click.option("--yes", is_flag=True, help="Do not ask, whoever made the plugin and whatever it replaces.")
@with_output
@click.pass_context
def install(
    context: click.Context, output: Output, names: tuple[str, ...], upgrade: bool, dry_run: bool, yes: bool
) -> None:
    """Install plugins with pip (uv where there is no pip), and see that they load; exit code 1 when one does not.

    A NAME is that of a distribution, with or without a version, a wheel, or the folder of a plugin's project; a word
    without hyphens, such as depth, stands for anymodal-depth. What comes is said before, from its metadata. You are
    asked for what this project has not published, and where another package would change. anymodal itself stays.

    \b
    anymodal plugin install depth
    anymodal plugin install anymodal-depth==0.1.0 ./anymodal-luma --dry-run
    anymodal plugin install anymodal_luma-0.1.0-py3-none-any.whl --yes --json
    """
    with task("looking at the plugins"):
        plan = planned(names, upgrade=upgrade)
    say(output, plan)
    facts = {**_facts(plan), "installed": False, "problems": []}
    if dry_run:
        output.data(facts)
        return
    if plan.comes and not yes:
        agree(output, plan)
    with task("installing"):
        problems = carry_out(plan)
    bad = {problem.plugin for problem in problems if problem.fatal}
    for problem in problems:
        output.line(f"problem: {problem}")
    names_of = " ".join(plugin.name for plugin in plan.plugins)
    if bad:
        output.line(f"installed, and not usable; this takes it away: pip uninstall {names_of}")
    else:
        output.line(f"installed, and it loads: {', '.join(plugin.does for plugin in plan.plugins)}")
    output.data({**facts, "installed": True, "problems": [attrs.asdict(problem) for problem in problems]})
    output.next(_next(plan) if not bad else f"anymodal plugin check {plan.plugins[0].name}")
    context.exit(1 if bad else 0)


@click.command()
@click.argument("words", nargs=-1, metavar="[WORDS]")
@with_output
def search(output: Output, words: tuple[str, ...]) -> None:
    """Search the directory of plugins, and what is installed, for all of WORDS; without words everything is listed.

    What is said of a plugin is what its own metadata says. Without the network it is what is installed, and the names
    of this project's plugins.

    \b
    anymodal plugin search
    anymodal plugin search depth
    anymodal plugin search thermal camera --json
    """
    here, own = installed(), directory()
    known = {name: Described(name) for name in own} | here
    try:
        known = {canonical(plugin.name): plugin for plugin in published()} | here
    except AnymodalError as error:
        output.note(f"note: {error}")
    found = {name: plugin for name, plugin in sorted(known.items()) if all(w.lower() in _text(plugin) for w in words)}
    rows = [
        {
            "name": plugin.name,
            "version": plugin.version,
            "provides": plugin.does,
            "summary": plugin.summary,
            "installed": "yes" if name in here else "",
        }
        for name, plugin in found.items()
    ]
    output.table(["name", "version", "provides", "summary", "installed"], [list(row.values()) for row in rows])
    whole = [{**attrs.asdict(plugin), "installed": n in here, "ours": n in own} for n, plugin in found.items()]
    output.data({"plugins": whole})
    if not found:
        output.note(f"nothing of {' '.join(words)}; what there is: anymodal plugin search")
    elif missing := [name for name in found if name not in here]:
        output.next(f"anymodal plugin install {missing[0]}")


def say(output: Output, plan: Plan) -> None:
    """Say what an installation would do."""
    strangers, own = plan.strangers, {canonical(plugin.name) for plugin in plan.plugins}
    for plugin in plan.plugins:
        output.line(f"{plugin.name} {plugin.version}: {plugin.summary or 'it says nothing of itself'}")
        about = [f"brings {plugin.does}", f"license {plugin.license or 'not stated'}"]
        about += [f"needs anymodal {plugin.needs}"] if plugin.needs else []
        about += [next(iter(plugin.links.values()))] if plugin.links else []
        output.line(f"  {'; '.join(about)}")
        if plugin.name in strangers:
            output.line("  not published by the anymodal project: its code will run with your rights")
    for name, (old, new) in plan.replaced.items():
        output.line(f"changes {name} {old} -> {new}")
    others = [f"{n} {v}" for n, v in plan.comes.items() if n not in plan.was and canonical(n) not in own]
    if others:
        output.line(f"with it come {', '.join(others)}")
    output.line(f"command: {shlex.join(plan.command)}" if plan.comes else "all of it is installed already")


def agree(output: Output, plan: Plan) -> None:
    """Ask, where that is due. Raises PluginError where nobody can be asked."""
    reasons = [f"{name} is not published by the anymodal project" for name in plan.strangers]
    reasons += [f"{name} would change from {old} to {new}" for name, (old, new) in plan.replaced.items()]
    if not reasons:
        return
    if output.as_json or not sys.stdin.isatty():
        raise PluginError(f"nothing was installed: {'; '.join(reasons)}; --yes installs it all the same")
    if not click.confirm("Install it?", err=True):
        raise PluginError("nothing was installed")


def _facts(plan: Plan) -> dict[str, object]:
    return {
        "plugins": [attrs.asdict(plugin) for plugin in plan.plugins],
        "strangers": plan.strangers,
        "comes": plan.comes,
        "changes": {name: {"from": old, "to": new} for name, (old, new) in plan.replaced.items()},
        "command": plan.command,
    }


def _next(plan: Plan) -> str:
    """What to do with what was installed."""
    modalities = [c.provides for c in plan.candidates if c.kind == "modality"]
    if modalities:
        return f"anymodal modalities {modalities[0]}"
    first = plan.candidates[0]
    return {
        "preset": f"anymodal generate --model {first.provides} --help",
        "labeler": f"anymodal label photos --with {first.provides} --out out/labeled",
        "command": f"anymodal {first.provides} --help",
    }[first.kind]


def _text(plugin: Described) -> str:
    return " ".join([plugin.name, plugin.summary, plugin.does, *plugin.keywords]).lower()
