"""What the election needs of the place where the Lease lies."""

from typing import Protocol

from stoker_orchestrator.domain.election import Seen, Write


class LeaseError(Exception):
    """The call failed, and nobody knows what came of it; it may be tried again."""


class LeaseStore(Protocol):
    """One Lease."""

    async def read(self) -> Seen:
        """The Lease as it is now. Raises LeaseError."""

    async def write(self, write: Write) -> Seen | None:
        """Change the Lease if it has the version that `write` names; None where it has another one. Raises LeaseError."""

    async def close(self) -> None:
        """Close the connections."""
