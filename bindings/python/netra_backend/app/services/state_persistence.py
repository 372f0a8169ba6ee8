from cairn.compat.services import StatePersistenceService, state_persistence_service

__all__ = ["StatePersistenceService", "state_persistence_service"]
