"""What MLflow is told of a run: its params, metrics, datasets, artifacts, and where all of it came from."""
