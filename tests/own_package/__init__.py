"""A package as a user has it beside params.yaml: tasks, metrics and a model class of their own."""
