"""Asking a container that somebody else runs how it is: ``GET <base>/health``, over verified TLS, with its token."""

import errno
import ssl

import aiohttp

from stoker_contracts.resources.conditions import Reason
from stoker_orchestrator.adapters.asking import beginning, session, shown
from stoker_orchestrator.adapters.tokens import NoTokenError, Tokens
from stoker_orchestrator.domain.health import Health, answered, down, unanswered
from stoker_orchestrator.domain.model import Url

PATIENCE_SECONDS = 4.0
"""How long an answer may take; with a look every 5 s a container that vanishes is noticed within 9 s."""
_MAX_BYTES = 4096
_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "no way to its host",
    errno.ENETUNREACH: "no way to its network",
}
_DISTRUST = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself",
    19: "its chain ends in one that is signed by itself",
    20: "its authority is not known",
    21: "its authority is not known",
    23: "it was withdrawn",
    62: "it is for another name",
    64: "it is for another address",
}
"""OpenSSL's X509_V_ERR_* (x509_vfy.h) in words that, unlike OpenSSL's own, hold no host."""


class HealthCheck:
    """Looks at containers, each time on a connection of its own. `trust` is who is believed behind ``https``."""

    def __init__(self, tokens: Tokens, trust: ssl.SSLContext, patience: float | None = None) -> None:
        self._tokens = tokens
        self._trust = trust
        self._patience = PATIENCE_SECONDS if patience is None else patience
        self._session: aiohttp.ClientSession | None = None

    async def look(self, url: Url) -> Health:
        """How the container is now. Redirects are not followed, and a long answer is not read to its end."""
        try:
            authorization = self._tokens.authorization(url)
        except NoTokenError as error:
            return down(Reason.TOKEN_MISSING, str(error), lasting=True)
        address, headers = f"{url.address.rstrip('/')}/health", shown(authorization)
        try:
            async with self._opened().get(address, headers=headers, allow_redirects=False) as answer:
                return answered(answer.status, await beginning(answer.content, _MAX_BYTES), url)
        except aiohttp.ClientConnectorCertificateError as error:
            return _distrusted(error.certificate_error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failed(error, self._patience)

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = session(self._trust, self._patience)
        return self._session


def _distrusted(error: Exception) -> Health:
    code = getattr(error, "verify_code", None)
    why = _DISTRUST.get(code, "it cannot be verified") if isinstance(code, int) else "it cannot be verified"
    return down(Reason.CERTIFICATE_NOT_TRUSTED, f"has a certificate that is not trusted: {why}", lasting=True)


def _failed(error: Exception, patience: float) -> Health:
    """A container that could not be asked, or answered nothing that is HTTP."""
    if isinstance(error, TimeoutError):
        return unanswered(f"nothing came for {patience:g} s", silent=True)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return down(Reason.CERTIFICATE_NOT_TRUSTED, "does not speak TLS as it should", lasting=True)
    if isinstance(error, aiohttp.InvalidURL):
        return down(Reason.INVALID_SPEC, "has a url that cannot be understood", lasting=True)
    return unanswered(_cause(error), silent=isinstance(error, aiohttp.ServerDisconnectedError))


def _cause(error: Exception) -> str:
    match error:
        case aiohttp.ServerDisconnectedError():
            return "it hung up"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientOSError():
            return _CAUSES.get(error.errno or 0, "no connection")
    return "what it says is not HTTP"
