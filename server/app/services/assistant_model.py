"""Which model works on the side: for memories, summaries and the like, where nobody waits for a word of it."""

from uuid import UUID

import structlog

from app.config import ModelSettings
from app.core.local_model import MODEL_NAME
from app.services.ai_models import Model, ModelCatalog, UnknownModel

log = structlog.stdlib.get_logger(__name__)


class Assistants:
    """The model that `ARENA_ASSISTANT_MODEL` names, else the local one where it runs."""

    def __init__(self, settings: ModelSettings, models: ModelCatalog) -> None:
        self._models = models
        local = f"local/{MODEL_NAME}" if settings.local_model_url else None
        self._usual = settings.assistant_model or local

    async def find(self, workspace_id: UUID, preferred: str | None = None) -> Model | None:
        """The preferred one if there is such a model, else the usual one; None: there is none of them."""
        models = await self._models.of(workspace_id, preferred, self._usual)
        for name in (preferred, self._usual):
            if name is None:
                continue
            try:
                return models.get(name)
            except UnknownModel as error:
                log.warning("assistant_model_unknown", workspace_id=str(workspace_id), reason=error.detail)
        return None
