"""`anymodal plugin`: plugins of all kinds."""

from __future__ import annotations

import click

from anymodal.cli import completion
from anymodal.cli.modalities import listing
from anymodal.cli.output import Output, with_output
from anymodal.cli.plugin_install import install, search
from anymodal.cli.plugin_new import new
from anymodal.plugins.discovery import PARTS
from anymodal.plugins.registry import registry
from anymodal.progress import task


@click.group()
def plugin() -> None:
    """Find, install, make, check and list plugins."""


@plugin.command("list")
@with_output
def list_plugins(output: Output) -> None:
    """List the installed plugins: modalities, presets, labelers and commands.

    \b
    anymodal plugin list
    anymodal plugin list --json
    """
    rows = listing(registry(), "modality", *PARTS)
    output.table(list(rows[0]) if rows else ["name"], [list(row.values()) for row in rows])
    output.data({"plugins": rows})


@plugin.command("check")
@click.argument("target", shell_complete=completion.plugins)
@click.option(
    "--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True, help="How many rules."
)
@with_output
@click.pass_context
def check_plugin(context: click.Context, output: Output, target: str, profile: str) -> None:
    """Check a modality by the rules of conformance; exit code 1 when one that must hold does not.

    TARGET is an installed modality, a distribution, or the folder of a plugin's project. Failures with one cause stand
    together; the rules that were left out are named with the reason.

    \b
    anymodal plugin check depth
    anymodal plugin check . --profile full
    anymodal plugin check anymodal-depth --json
    """
    from anymodal.testing.choose import find

    targets = list(find(target))  # what is wrong with it is said before the rules import torch
    from anymodal.testing.run import Inspection, rule_numbers
    from anymodal.testing.summary import causes, summary

    chosen, results = rule_numbers(profile), []
    for inspection in map(Inspection, targets):
        name = inspection.subject.target.name
        with task(f"checking {name}", len(chosen)) as now:
            for number in chosen:
                results.append(inspection.judge(number))
                now.advance()
    for line in summary(results):
        output.line(line)
    counts = {status: sum(r.status == status for r in results) for status in ("passed", "failed", "warned", "skipped")}
    output.line(", ".join(f"{count} {status}" for status, count in counts.items()))
    found = [{"cause": group[0].cause, "rules": [r.rule.number for r in group]} for group in causes(results)]
    facts = [result.facts() for result in results]
    output.data({"target": target, "profile": profile, **counts, "causes": found, "results": facts})
    if not counts["failed"]:
        in_folder = targets[0].folder is not None
        output.next(f"anymodal plugin install {target}" if in_folder else f"anymodal modalities {targets[0].name}")
    context.exit(1 if counts["failed"] else 0)


for command in (install, new, search):
    plugin.add_command(command)
