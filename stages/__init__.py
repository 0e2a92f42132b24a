"""What DVC calls: one thin file a stage."""

from pipeline import environment

environment.prepare()
