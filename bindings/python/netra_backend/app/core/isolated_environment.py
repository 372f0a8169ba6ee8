from cairn.compat.environment import IsolatedEnvironment, get_env

__all__ = ["IsolatedEnvironment", "get_env"]
