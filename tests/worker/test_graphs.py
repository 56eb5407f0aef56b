"""Recorded calls: the same numbers, and nothing recorded that is not worth it. The device is played by the CPU."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn

from stoker_worker.engine.speed.graphs import Graphs
from tests.support.recorder import FakeRecorder

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

Forward = Callable[..., Any]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Part(nn.Module):  # type: ignore[misc] # torch's types are not read
    """Some layers that take what denoisers take: tensors by place and by name, in dicts, None, numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        with torch.inference_mode(mode=False):
            self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
        self.eval()

    def forward(
        self, sample: Any, step: Any, *, extra: Any = None, scale: float = 1.0, plain: bool = False, what: Any = None
    ) -> Any:
        made = self.layers(sample) * step * scale + (0 if extra is None else extra["embeds"])
        return (made, {"hidden": [sample + 1, made]}) if plain else DecoderOutput(sample=made)


@dataclass
class Rig:
    """A part, its graphs, and the device."""

    part: Part
    device: FakeRecorder
    graphs: Graphs
    call: Forward

    @property
    def decided(self) -> dict[str, int]:
        return {decision.value: times for decision, times in self.graphs.figures()["unet"].decided.items() if times}

    def eager(self, *positional: Any, **named: Any) -> Any:
        return self.part.forward(*positional, **named)


def rig(part: Part | None = None, device: FakeRecorder | None = None, most: int = 32) -> Rig:
    part, device = part or Part(), device or FakeRecorder()
    graphs = Graphs(torch, device, most)
    return Rig(part, device, graphs, graphs.graphed("unet", part, part.forward))


def noise(rows: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))


def alike(made: Iterable[torch.Tensor], wanted: Iterable[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(made, wanted, strict=True))


def test_a_replay_computes_what_the_call_would_for_other_numbers() -> None:
    rigged = rig()
    for seed in range(5):
        arguments = (noise(seed=seed), torch.tensor(seed + 1))
        extra = {"embeds": noise(1, seed + 100)}
        made = rigged.call(*arguments, extra=extra)
        assert isinstance(made, DecoderOutput)
        assert torch.equal(made.sample, rigged.eager(*arguments, extra=extra).sample)

    assert rigged.device.recorded == 1
    assert rigged.graphs.count == 1


def test_nested_results_come_back_as_they_were() -> None:
    rigged = rig()
    for seed in range(4):
        made, rest = rigged.call(noise(seed=seed), torch.tensor(1), plain=True)
        wanted, wanted_rest = rigged.eager(noise(seed=seed), torch.tensor(1), plain=True)
        assert torch.equal(made, wanted)
        assert alike(rest["hidden"], wanted_rest["hidden"])

    assert rigged.graphs.count == 1


def test_a_call_that_comes_once_is_not_recorded() -> None:
    rigged = rig()
    rigged.call(noise(), torch.tensor(1))

    assert rigged.device.recorded == 0


def test_each_form_of_a_call_has_its_own_graph() -> None:
    rigged = rig()
    for _ in range(2):
        rigged.call(noise(2), torch.tensor(1))
        rigged.call(noise(3), torch.tensor(1))
        rigged.call(noise(2), torch.tensor(1.0))
        rigged.call(noise(2), torch.tensor(1), scale=2.0)
        rigged.call(noise(2), torch.tensor(1), scale=2)
        rigged.call(noise(8).t()[:2], torch.tensor(1))

    assert rigged.graphs.count == 6


def test_a_result_outlives_the_replays_of_other_graphs() -> None:
    rigged = rig()
    for _ in range(2):
        rigged.call(noise(2), torch.tensor(1))
        rigged.call(noise(3), torch.tensor(1))
    kept = rigged.call(noise(2), torch.tensor(1)).sample
    rigged.call(noise(3), torch.tensor(1))
    rigged.call(noise(2, seed=9), torch.tensor(1))

    assert torch.equal(kept, rigged.eager(noise(2), torch.tensor(1)).sample)


def test_an_argument_that_is_no_plain_value_means_no_graph() -> None:
    rigged = rig()
    for _ in range(4):
        rigged.call(noise(), torch.tensor(1), what=object())

    assert rigged.device.recorded == 0


def test_a_tensor_that_lies_elsewhere_means_no_graph() -> None:
    rigged = rig()
    for _ in range(4):
        rigged.call(noise(), torch.tensor(1), what=torch.empty(1, device="meta"))

    assert rigged.device.recorded == 0


class Peeking(Part):
    """Decides on the host by what the device computes."""

    def forward(self, sample: Any, step: Any, **named: Any) -> Any:
        return super().forward(sample, step, **named) if step.item() < 3 else DecoderOutput(sample=sample)


def test_what_cannot_be_recorded_runs_as_it_is_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rigged = rig(Peeking())
    for step in range(6):
        made = rigged.call(noise(), torch.tensor(step)).sample
        assert torch.equal(made, rigged.eager(noise(), torch.tensor(step)).sample)

    told = [record.getMessage() for record in caplog.records]
    assert told == ["unet of 2×8 is launched kernel by kernel: it cannot be recorded (CannotBeRecordedError)"]
    assert rigged.decided == {"unrecordable": 1}
    assert not rigged.device.exclusive.locked()


class Forgetful(Part):
    """Its result depends on more than its arguments."""

    calls = 0

    def forward(self, sample: Any, step: Any, **named: Any) -> Any:
        self.calls += 1
        return DecoderOutput(sample=super().forward(sample, step, **named).sample + self.calls)


def test_what_a_replay_does_not_reproduce_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rigged = rig(Forgetful())
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))

    assert (rigged.graphs.count, rigged.decided) == (0, {"differs": 1})
    assert "a replay gives another result" in caplog.text


def test_values_that_are_no_numbers_are_reproduced_as_well() -> None:
    rigged = rig()
    for _ in range(3):
        rigged.call(noise() * float("nan"), torch.tensor(1))

    assert rigged.graphs.count == 1


@pytest.mark.parametrize(
    ("launch", "kernel", "decision", "why"),
    [(1e-6, 1e-4, "saturated", "busy all the time"), (1.02e-6, 1e-6, "no_gain", "a replay saves")],
)
def test_a_graph_that_saves_next_to_nothing_is_not_kept(
    launch: float, kernel: float, decision: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rigged = rig(device=FakeRecorder(launch, kernel))
    for _ in range(4):
        rigged.call(noise(), torch.tensor(1))

    assert rigged.graphs.count == 0
    assert rigged.device.recorded <= 1
    assert rigged.decided == {decision: 1}
    assert why in caplog.text


def test_the_graph_unused_for_longest_makes_room() -> None:
    rigged = rig(most=2)
    for rows in (2, 2, 3, 3, 2, 4, 4):
        rigged.call(noise(rows), torch.tensor(1))
    recorded = rigged.device.recorded
    rigged.call(noise(2), torch.tensor(1))
    rigged.call(noise(4), torch.tensor(1))
    replayed = rigged.device.recorded
    for _ in range(7):
        rigged.call(noise(3), torch.tensor(1))
    not_yet = rigged.device.recorded
    rigged.call(noise(3), torch.tensor(1))

    assert (recorded, replayed, not_yet, rigged.device.recorded) == (3, 3, 3, 4)
    assert rigged.graphs.count == 2


def move(part: Part) -> None:
    """What ``module.to`` does: the same parameters with their numbers elsewhere."""
    for parameter in part.parameters():
        parameter.data = parameter.data.clone() + 1


def test_moved_weights_are_recorded_anew_and_no_graph_reads_where_they_were() -> None:
    rigged = rig()
    for _ in range(3):
        for _ in range(2):
            rigged.call(noise(), torch.tensor(1))
        move(rigged.part)
        made = rigged.call(noise(), torch.tensor(1)).sample
        assert torch.equal(made, rigged.eager(noise(), torch.tensor(1)).sample)

    assert rigged.device.recorded == 3, "weights that move between all calls are not recorded for ever"
    assert (rigged.graphs.count, rigged.decided) == (0, {"replayed": 3, "moves": 1})


def test_replaced_parameters_are_noticed() -> None:
    rigged = rig()
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))
    others = {name: torch.full_like(each, 0.5) for name, each in rigged.part.state_dict().items()}
    rigged.part.load_state_dict(others, assign=True)

    made = rigged.call(noise(), torch.tensor(1)).sample

    assert torch.equal(made, rigged.eager(noise(), torch.tensor(1)).sample)


def test_training_and_gradients_are_left_alone() -> None:
    rigged = rig()
    with torch.inference_mode(mode=False):
        for _ in range(3):
            assert rigged.call(torch.ones(2, 8), torch.tensor(1)).sample.requires_grad
    rigged.part.train()
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))

    assert rigged.device.recorded == 0


def test_nothing_is_recorded_while_someone_else_uses_the_device() -> None:
    rigged = rig()
    rigged.device.busy()
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))
    meanwhile = rigged.device.recorded
    rigged.device.exclusive.release()
    rigged.call(noise(), torch.tensor(1))

    assert (meanwhile, rigged.graphs.count) == (0, 1)


def test_forgotten_graphs_give_their_place_back_part_by_part() -> None:
    rigged = rig()
    other = rigged.graphs.graphed("vae", rigged.part, rigged.part.forward)
    for _ in range(2):
        rigged.call(noise(), torch.tensor(1))
        other(noise(), torch.tensor(1))
    rigged.graphs.forget("vae")
    one = {part: figures.held for part, figures in rigged.graphs.figures().items()}
    rigged.graphs.free()

    assert (one, rigged.graphs.count) == ({"unet": 1, "vae": 0}, 0)
    assert rigged.decided == {"replayed": 1}, "what was decided stays decided"
