"""Observe, plan, execute: the one way in which anything is changed."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stoker_contracts import names
from stoker_contracts.resources.conditions import ConditionType
from stoker_operator.adapters.port import Cluster, ClusterError, Json, Kind, RefusedError
from stoker_operator.app.side_by_side import side_by_side
from stoker_operator.domain.intent import fulfilled
from stoker_operator.domain.keys import Key, Scope
from stoker_operator.domain.manifests.deployment import labels
from stoker_operator.domain.models_config import Config, Conflict, Outcome, plan_configs, read_configs
from stoker_operator.domain.observed import Observed, Refusal, observed
from stoker_operator.domain.plan import Application, Deletion, Plan, plan
from stoker_operator.domain.release import WorkerDefaults
from stoker_operator.domain.report import is_report, report, report_events, report_manifest, report_name

log = logging.getLogger(__name__)

MODELS_CONFIG_LABELS = {names.LABEL_MODELS_CONFIG: "true"}
_CONFLICT = 409


class Reconciler:
    """Reconciles keys against one cluster. `clock` tells Unix seconds."""

    def __init__(self, cluster: Cluster, release: WorkerDefaults, clock: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._release = release
        self._clock = clock

    async def reconcile(self, key: Key) -> float | None:
        """Bring one key about; after how many seconds to look again. Raises ClusterError and RefusedError."""
        if key.scope is Scope.MODELS_CONFIGS:
            await self._reconcile_configs()
            return None
        return await self._reconcile_model(key.name)

    async def _reconcile_model(self, name: str) -> float | None:
        seen = await self._observe(name)
        if seen is None:
            return None
        decided = plan(seen, self._clock())
        try:
            for application in decided.apply:
                await self._cluster.apply(application.manifest, over=application.over)
                log.info("applied the Deployment of %s", name)
        except RefusedError as refused:
            if refused.code == _CONFLICT:
                raise
            log.warning("the Deployment of %s is refused: %s", name, refused)
            decided = plan(replace(seen, refusal=Refusal(refused.code, refused.message)), self._clock())
        for deletion in decided.delete:
            await self._cluster.delete(Kind.DEPLOYMENT, deletion.name, deletion.uid, deletion.resource_version)
            log.info("deleted the Deployment of %s: somebody else runs its workers", name)
        await self._tell(name, decided)
        return decided.requeue_after

    async def _observe(self, name: str) -> Observed | None:
        resource, deployment = await asyncio.gather(
            self._cluster.get(Kind.MODEL_DEPLOYMENT, name), self._cluster.get(Kind.DEPLOYMENT, name)
        )
        if resource is None:
            return None
        pods = await self._cluster.list(Kind.POD, labels(name)) if deployment is not None else []
        seen = observed(resource, self._release, deployment, pods)
        weights = seen.wanted.weights if seen.wanted else None
        if weights is None or weights.claim is None:
            return seen
        return replace(seen, claim=await self._cluster.get(Kind.CLAIM, weights.claim.name))

    async def _tell(self, name: str, decided: Plan) -> None:
        if decided.status is not None:
            await self._cluster.apply_status(decided.status)
            log.info("%s: %s", name, _in_short(decided.status["status"]["conditions"]))
        await side_by_side(self._record, decided.events)

    async def _record(self, event: Json) -> None:
        """Events are told as well as can be; nothing depends on them."""
        try:
            await self._cluster.record(event)
        except (ClusterError, RefusedError) as error:
            log.warning("the Event %s could not be told: %s", event["reason"], error)

    async def _reconcile_configs(self) -> None:
        config_maps, resources = await asyncio.gather(
            self._cluster.list(Kind.CONFIG_MAP, MODELS_CONFIG_LABELS), self._cluster.list(Kind.MODEL_DEPLOYMENT)
        )
        configs = read_configs(config_maps, resources)
        decided = plan_configs(configs, resources)
        conflicts = dict(decided.conflicts)

        async def apply(wish: tuple[str, Application]) -> None:
            """One that is refused does not stop its neighbours."""
            config, application = wish
            try:
                await self._apply_resource(config, application)
            except RefusedError as error:
                if error.code == _CONFLICT:
                    raise
                name = application.manifest["metadata"]["name"]
                conflicts[config, name] = Conflict(Outcome.REFUSED, f"the API server refuses it: {error.message}")

        await side_by_side(apply, decided.apply)
        await side_by_side(self._prune, decided.delete)
        for config in configs:
            if not config.leaving:
                await self._report(config, conflicts)

    async def _apply_resource(self, config: str, application: Application) -> None:
        await self._cluster.apply(application.manifest, over=application.over)
        log.info("applied ModelDeployment %s from the models config %s", application.manifest["metadata"]["name"], config)

    async def _prune(self, deletion: Deletion) -> None:
        await self._cluster.delete(Kind.MODEL_DEPLOYMENT, deletion.name, deletion.uid, deletion.resource_version)
        log.info("deleted ModelDeployment %s: no models config lists it any more", deletion.name)

    async def _report(self, config: Config, conflicts: dict[tuple[str, str], Conflict]) -> None:
        found = await self._cluster.get(Kind.CONFIG_MAP, report_name(config))
        document = report(config, conflicts)
        taken = found is not None and not is_report(config, found)
        await side_by_side(self._record, report_events(config, document, None if taken else found, self._clock()))
        if taken:
            log.warning("the ConfigMap %s is somebody else's, so that Events alone tell of refused entries", report_name(config))
            return
        manifest = report_manifest(config, document)
        if not fulfilled(manifest, found):
            await self._cluster.apply(manifest, over=found["metadata"]["uid"] if found else None)


def _in_short(conditions: list[dict[str, Any]]) -> str:
    ready = next(each for each in conditions if each["type"] == ConditionType.READY)
    return f"Ready={ready['status']} {ready['reason']}: {ready['message']}"
