"""Decoders that all tests of a run share: none of them has to wait for a process to start."""

import atexit

from stoker_worker.encoding.decoders import Decoders

DECODERS = Decoders(count=1)
atexit.register(DECODERS.close)
