"""What a clip may consist of, for whoever sends frames and whoever encodes them."""

MAX_INPUT_BYTES = 64 * 2**20
"""Of an answer with frames. 25 frames of 1024 × 576 that cannot be compressed at all have 59 MB."""
MAX_OUTPUT_BYTES = 64 * 2**20
MAX_FRAMES = 256
MAX_PIXELS = 4096 * 4096
"""Of one frame."""
MAX_SECONDS = 120
"""That a clip may take to be encoded."""
MAX_MEMORY_BYTES = 2**30
"""Address space of the process that encodes."""
UNUSABLE = 3
"""Exit code of a process whose last line says in words what is wrong with the frames."""
