"""What DVC calls: one thin file a stage."""

from pipeline import environment
from pipeline.training import launch

environment.prepare()
launch.die_with_launcher()
