from cairn import AgentPhase, RecoveryType
from cairn.compat.schemas import CheckpointType, StatePersistenceRequest, StateRecoveryRequest

__all__ = ["AgentPhase", "CheckpointType", "RecoveryType", "StatePersistenceRequest", "StateRecoveryRequest"]
