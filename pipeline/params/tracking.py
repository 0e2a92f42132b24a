"""The section `tracking`."""

import re

from pydantic import Field, field_validator

from pipeline.params.section import Section


class Tracking(Section):
    """What MLflow is told. Changing this retrains nothing."""

    experiment_name: str = Field("reprise", min_length=1, description="the MLflow experiment")
    run_name: str | None = Field(None, description="the MLflow run; null makes a telling one")
    tags: dict[str, str] = Field({}, description="tags of the run, name: value")
    log_model: bool = Field(True, description="keep the best model in MLflow, too")
    registered_model_name: str | None = Field(
        None, min_length=1, description="its name in MLflow's registry; null: as the experiment"
    )

    @field_validator("registered_model_name")
    @classmethod
    def _fits_into_addresses(cls, name: str | None) -> str | None:
        if name is not None and re.search(r'[/:@"]', name):
            raise ValueError("it cannot hold / : @ or a double quote, which end a model's name elsewhere")
        return name

    @property
    def model(self) -> str:
        """The name of the registered model; MLflow refuses some signs that an experiment's name may have."""
        return self.registered_model_name or re.sub(r'[/:@"]', "-", self.experiment_name)
