"""What the orchestrator decides, without I/O: state and event in, new state and effects out, time as ``now``."""
