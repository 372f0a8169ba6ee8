from cairn.compat.executor import PipelineExecutor

__all__ = ["PipelineExecutor"]
