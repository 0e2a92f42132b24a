"""`reprise register`: a version in MLflow's registry, made from a run."""

import click

from pipeline import params_file, project


@click.command("register")
@click.argument("run", default="workspace")
@click.option("--name", metavar="MODEL", help="Register it under this name.  [default: tracking.registered_model_name]")
def command(run: str, name: str | None) -> None:
    """Make a version of the model that RUN made; RUN is a run's id or name, by default that of models/best.

    A model that is registered already is not registered again.
    """
    # Imported here: MLflow takes seconds, and `reprise register --help` should not.
    from pipeline.lifecycle.register import register

    version, new = register(run, params_file.read(project.PARAMS), name)
    click.echo(f"Registered {version}." if new else f"The model is registered already: {version}.")
