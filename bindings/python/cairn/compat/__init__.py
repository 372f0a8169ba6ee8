"""The documented system's interface on the engine; the package `netra_backend` has it under the documented names."""
