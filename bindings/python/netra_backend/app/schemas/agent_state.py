from cairn import AgentPhase, CheckpointType, RecoveryType, StatePersistenceRequest, StateRecoveryRequest

__all__ = ["AgentPhase", "CheckpointType", "RecoveryType", "StatePersistenceRequest", "StateRecoveryRequest"]
