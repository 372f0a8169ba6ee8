"""The documented system's interface, built on the engine. `netra_backend` offers it under the documented names."""
