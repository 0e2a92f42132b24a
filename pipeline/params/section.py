"""What all sections have in common."""

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A section of params.yaml: an unknown key, or a value of another type, is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        serialize_by_alias=True,
    )

    @classmethod
    def spelled(cls) -> dict[str, FieldInfo]:
        """Its fields by their keys in params.yaml, one of which Python would not have as a name."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}
