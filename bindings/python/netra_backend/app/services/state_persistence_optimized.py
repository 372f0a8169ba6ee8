from cairn.compat.services import OptimizedStatePersistence, optimized_state_persistence

__all__ = ["OptimizedStatePersistence", "optimized_state_persistence"]
