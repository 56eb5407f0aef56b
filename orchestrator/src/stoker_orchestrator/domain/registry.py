"""Which models and endpoints exist, and what is in flight on them."""

from collections.abc import Sequence

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Model

_WEIGHT = 0.2


class Registry:
    """The truth about the fleet, as far as it was told. An endpoint may be told before its model."""

    def __init__(self) -> None:
        self.synced = False
        self._models: dict[str, Model] = {}
        self._by_id: dict[tuple[Pipeline, str], list[Model]] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._of_model: dict[str, list[Endpoint]] = {}
        self._job_seconds: dict[str, float] = {}

    def apply(self, event: FleetEvent) -> None:
        """Take in what the fleet told."""
        match event:
            case ModelSeen(model):
                self._models[model.name] = model
                self._order()
            case ModelGone(name):
                self._models.pop(name, None)
                self._order()
                self._job_seconds.pop(name, None)
            case EndpointSeen():
                self._see(event)
            case EndpointGone(identity):
                self._forget(identity)
            case Synced():
                self.synced = True

    def _see(self, event: EndpointSeen) -> None:
        known = self._endpoints.get(event.id)
        if known is None:
            endpoint = Endpoint(event.id, event.model, event.address, event.capacity, event.state)
            self._endpoints[event.id] = endpoint
            self._of_model.setdefault(event.model, []).append(endpoint)
        else:
            known.address, known.capacity, known.state = event.address, event.capacity, event.state

    def _forget(self, identity: str) -> None:
        gone = self._endpoints.pop(identity, None)
        if gone is not None:
            left = [endpoint for endpoint in self._of_model.pop(gone.model) if endpoint is not gone]
            if left:
                self._of_model[gone.model] = left

    def _order(self) -> None:
        """Models by what jobs call them, so that a job need not look through all."""
        self._by_id = {}
        for model in self.models:
            self._by_id.setdefault((model.pipeline, model.model_id), []).append(model)

    @property
    def models(self) -> list[Model]:
        """All models, by name."""
        return [self._models[name] for name in sorted(self._models)]

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, in the order in which they came."""
        return list(self._endpoints.values())

    def model(self, name: str) -> Model | None:
        """The model whose resource has this name."""
        return self._models.get(name)

    def find(self, pipeline: Pipeline, model_id: str) -> Model | None:
        """The model with this id; a warm one first where several resources have it."""
        found = self._by_id.get((pipeline, model_id), [])
        if len(found) > 1:
            return max(found, key=lambda model: (self.is_warm(model.name), model.warm))
        return found[0] if found else None

    def of_pipeline(self, pipeline: Pipeline) -> list[Model]:
        """The models of one pipeline, by name."""
        return [model for model in self.models if model.pipeline is pipeline]

    def endpoints_of(self, name: str) -> Sequence[Endpoint]:
        """The endpoints of one model, in the order in which they came."""
        return self._of_model.get(name, ())

    def is_warm(self, name: str) -> bool:
        """Whether a worker has the model loaded and takes jobs."""
        return any(endpoint.state is EndpointState.READY for endpoint in self.endpoints_of(name))

    def take(self, endpoint: Endpoint, cost: float) -> None:
        """A job begins on `endpoint`."""
        endpoint.in_flight += 1
        endpoint.work += cost

    def give_back(self, endpoint: Endpoint, cost: float) -> None:
        """A job on `endpoint` has ended; the endpoint itself may be gone by now."""
        endpoint.in_flight -= 1
        endpoint.work = max(0.0, endpoint.work - cost) if endpoint.in_flight else 0.0

    def observe(self, name: str, seconds: float) -> None:
        """A job of this model took so long on its worker; the mean follows with a weight of one fifth."""
        mean = self._job_seconds.get(name, seconds)
        self._job_seconds[name] = mean + (seconds - mean) * _WEIGHT

    def estimated_wait(self, name: str, waiting: int) -> float:
        """Seconds until a job sent now begins, from what jobs took so far; 0 where a slot is free or nothing is known."""
        ready = [endpoint for endpoint in self.endpoints_of(name) if endpoint.state is EndpointState.READY]
        slots = sum(endpoint.capacity for endpoint in ready)
        if not slots or any(endpoint.free for endpoint in ready):
            return 0.0
        return self._job_seconds.get(name, 0.0) * (waiting + 1) / slots
