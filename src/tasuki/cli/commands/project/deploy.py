"""``tasuki deploy``: print the files that run the project's workers elsewhere."""

from __future__ import annotations

import click

from tasuki.cli.options import project_options
from tasuki.cli.project import Target
from tasuki.cli.tools.deploying import compose, k8s, plan_of, systemd
from tasuki.cli.worker.running import refuse_memory

_WRITERS = {"systemd": systemd, "compose": compose, "k8s": k8s}


@click.command("deploy")
@click.argument("system", type=click.Choice(list(_WRITERS)))
@click.option("--processes", type=click.IntRange(1, 1000), default=1, show_default=True, help="Worker processes.")
@click.option("--image", metavar="NAME", help="The image of compose and k8s; default: compose builds it.")
@project_options()
def command(target: Target, system: str, processes: int, image: str | None) -> None:
    """Print a unit for systemd, a file for Compose, or a Deployment for Kubernetes that runs this project's workers.

    The time to stop follows from the stop_timeout of its consumers. Workers write the health file for 'tasuki health'.
    """
    project = target.load().check()
    if system == "k8s" or processes > 1:
        refuse_memory(project)
    plan = plan_of(target, project, processes)
    click.echo(_WRITERS[system](plan, image), nl=False)
