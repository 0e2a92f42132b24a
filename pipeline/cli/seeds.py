"""`reprise seeds`: the same training with several seeds."""

import click


@click.command("seeds")
@click.argument("count", type=click.IntRange(min=2), metavar="N")
@click.option("--first", type=click.IntRange(min=0), help="The first seed; train.seed of params.yaml if left out.")
def command(count: int, first: int | None) -> None:
    """Train N times with other seeds, as DVC experiments, and show mean and standard deviation of the scores.

    The workspace stays as it is. The MLflow runs hang below a parent run, which `reprise compare` takes as one.
    """
    # Imported here: MLflow takes seconds, and `reprise seeds --help` should not.
    from rich.console import Console

    from pipeline import params_file, project
    from pipeline.cli.compare_tables import of_seeds
    from pipeline.lifecycle import seeds

    params = params_file.read(project.PARAMS)
    found = seeds.run(params, count, params.train.seed if first is None else first)
    tried = [run.params["train.seed"] for run in found.runs]
    Console(highlight=False).print("", of_seeds(tried, found.scores), sep="\n")
    click.echo(f"compare: reprise compare REFERENCE {found.name}")
