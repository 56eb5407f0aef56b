"""Which models and endpoints exist, what is in flight on them, and how fast they are."""

from collections.abc import Collection, Mapping

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.cost import Rates
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen, Sight, Synced
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving, Model

_WEIGHT = 0.2
_LEAST_PACE, _MOST_PACE = 0.1, 100.0
_START_SECONDS = 30.0
"""How long a start is taken to last before one was seen."""
_NONE: Mapping[str, Endpoint] = {}


class Registry:
    """The truth about the fleet, as far as it was told. An endpoint may be told before its model."""

    def __init__(self) -> None:
        self.synced = False
        self.blind_since: float | None = None
        """Since when the fleet does not see its workers; None while it does."""
        self.roomless: set[str] = set()
        """Models whose worker finds no free device, and for whom no other model can make room."""
        self.rates = Rates()
        self._models: dict[str, Model] = {}
        self._by_name: list[Model] = []
        self._by_id: dict[tuple[Pipeline, str], list[Model]] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._of_model: dict[str, dict[str, Endpoint]] = {}
        self._busy: dict[str, Endpoint] = {}
        self._departed: dict[str, Endpoint] = {}
        """Endpoints that are gone, or were not told yet, with jobs of ours that have not ended."""
        self._start_seconds: dict[str, float] = {}

    def apply(self, event: FleetEvent, now: float) -> None:
        """Take in what the fleet told."""
        match event:
            case EndpointSeen():
                self._see(event, now)
            case EndpointGone(identity):
                self._forget(identity)
            case ModelSeen(model):
                self._models[model.name] = model
                self._order()
            case ModelGone(name):
                self._models.pop(name, None)
                self._order()
                self.rates.forget(name)
                self._start_seconds.pop(name, None)
            case Synced():
                self.synced = True
            case Sight(clear):
                self.blind_since = None if clear else (self.blind_since if self.blind_since is not None else now)

    def _see(self, event: EndpointSeen, now: float) -> None:
        known = self._endpoints.get(event.id)
        if known is None:
            known = self._added(event, now)
        elif known.state is not event.state:
            if (known.state, event.state) == (EndpointState.STARTING, EndpointState.READY):
                self._started(event.model, now - known.since)
            known.since = known.idle_since = now
            if event.state is EndpointState.READY:
                known.runner = None
        known.address, known.capacity, known.state = event.address, event.capacity, event.state
        known.node, known.devices = event.node, event.devices
        known.no_room, known.pulse, known.trouble = event.no_room, event.pulse, event.trouble
        known.ahead = known.ahead and event.state is EndpointState.STARTING

    def _added(self, event: EndpointSeen, now: float) -> Endpoint:
        """An endpoint that was not there. One that had been told as gone too soon, or another orchestrator knew, has its jobs."""
        added = self._departed.pop(event.id, None) or Endpoint(event.id, event.model, event.address)
        added.since = added.idle_since = now
        added.runner = None
        self._endpoints[event.id] = added
        self._of_model.setdefault(added.model, {})[event.id] = added
        if added.in_flight:
            self._busy[event.id] = added
        return added

    def _started(self, name: str, seconds: float) -> None:
        if name not in self._models:
            return
        mean = self._start_seconds.get(name, seconds)
        self._start_seconds[name] = mean + (seconds - mean) * _WEIGHT

    def _forget(self, identity: str) -> None:
        gone = self._endpoints.pop(identity, None)
        if gone is not None:
            of_model = self._of_model[gone.model]
            del of_model[identity]
            if not of_model:
                del self._of_model[gone.model]
            gone.ejected = False
            if self._busy.pop(identity, None) is not None:
                self._departed[identity] = gone

    def _order(self) -> None:
        """Models by name, and by what jobs call them, so that a job need not look through all."""
        self._by_name = [self._models[name] for name in sorted(self._models)]
        self._by_id = {}
        for model in self._by_name:
            self._by_id.setdefault((model.pipeline, model.model_id), []).append(model)

    @property
    def models(self) -> list[Model]:
        """All models, by name."""
        return list(self._by_name)

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, in the order in which they came."""
        return list(self._endpoints.values())

    @property
    def identities(self) -> Collection[str]:
        """The ids of all endpoints."""
        return self._endpoints.keys()

    @property
    def busy(self) -> Collection[Endpoint]:
        """The endpoints that have jobs in flight."""
        return self._busy.values()

    def model(self, name: str) -> Model | None:
        """The model whose resource has this name."""
        return self._models.get(name)

    def endpoint(self, identity: str) -> Endpoint | None:
        """The endpoint with this id."""
        return self._endpoints.get(identity)

    def same(self, endpoint: Endpoint) -> Endpoint:
        """What counts here for another orchestrator's endpoint: the one of its id that is known, or has jobs; else a new one."""
        known = self._endpoints.get(endpoint.id) or self._departed.get(endpoint.id)
        return known or Endpoint(endpoint.id, endpoint.model, endpoint.address, endpoint.capacity)

    def find(self, pipeline: Pipeline, model_id: str) -> Model | None:
        """The model with this id; a warm one first where several resources have it."""
        found = self._by_id.get((pipeline, model_id), [])
        if len(found) > 1:
            return max(found, key=lambda model: (self.is_warm(model.name), model.warm))
        return found[0] if found else None

    def of_pipeline(self, pipeline: Pipeline) -> list[Model]:
        """The models of one pipeline, by name."""
        return [model for model in self._by_name if model.pipeline is pipeline]

    def endpoints_of(self, name: str) -> Collection[Endpoint]:
        """The endpoints of one model, in the order in which they came."""
        return self._of_model.get(name, _NONE).values()

    def is_warm(self, name: str) -> bool:
        """Whether a worker has the model loaded and takes jobs."""
        return any(endpoint.serving for endpoint in self.endpoints_of(name))

    def slots(self, name: str) -> int:
        """Jobs that the serving endpoints of a model take together."""
        return sum(endpoint.capacity for endpoint in self.endpoints_of(name) if endpoint.serving)

    def in_flight(self, name: str) -> int:
        """Jobs under way on the endpoints of a model, whatever their state."""
        return sum(endpoint.in_flight for endpoint in self.endpoints_of(name))

    def take(self, endpoint: Endpoint, cost: float) -> None:
        """A job begins on `endpoint`; one that was to retire stays."""
        endpoint.in_flight += 1
        endpoint.work += cost
        if endpoint.leaving is Leaving.RETIRING:
            endpoint.leaving = Leaving.STAYS
        (self._busy if endpoint.id in self._endpoints else self._departed)[endpoint.id] = endpoint

    def give_back(self, endpoint: Endpoint, cost: float, now: float) -> None:
        """A job on `endpoint` has ended; the endpoint itself may be gone by now."""
        endpoint.in_flight -= 1
        if endpoint.in_flight:
            endpoint.work = max(0.0, endpoint.work - cost)
        else:
            endpoint.work, endpoint.idle_since = 0.0, now
            for those in (self._busy, self._departed):
                if those.get(endpoint.id) is endpoint:
                    del those[endpoint.id]

    def observe(self, endpoint: Endpoint, cost: float, seconds: float) -> float:
        """A job of this declared cost took so long on `endpoint`: what its model costs there, and how fast it is itself.

        Returns how that compares to what was expected (0.5: half as long).
        """
        if endpoint.model not in self._models:
            return 1.0
        ratio = self.rates.observe(endpoint.model, cost, seconds)
        endpoint.pace += (min(max(ratio, _LEAST_PACE), _MOST_PACE) - endpoint.pace) * _WEIGHT
        return ratio

    def estimated_wait(self, name: str, work: float) -> float:
        """Seconds until a job sent now begins, with so much declared work in line before it; 0 where a slot is free."""
        serving = [endpoint for endpoint in self.endpoints_of(name) if endpoint.serving]
        if not serving:
            return self.estimated_start(name) + self.rates.seconds(name, work)
        if not work and any(endpoint.in_flight < endpoint.capacity for endpoint in serving):
            return 0.0
        if not self.rates.known(name):
            return 0.0
        ahead = work + sum(endpoint.work for endpoint in serving) / 2
        return self.rates.seconds(name, ahead) / sum(endpoint.capacity for endpoint in serving)

    def expected(self, name: str, cost: float) -> float:
        """Seconds that a job of this declared cost will take on a worker; 0 where nothing is known."""
        return self.rates.seconds(name, cost) if self.rates.known(name) else 0.0

    def estimated_start(self, name: str) -> float:
        """Seconds that a first worker takes from its pod's making to readiness, as far as known."""
        return self._start_seconds.get(name, _START_SECONDS)
