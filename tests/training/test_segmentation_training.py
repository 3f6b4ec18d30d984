"""Training of the segmentation network."""

import csv
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from isdu_bids.errors import UsageError
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS
from isdu_bids.segmentation.region_net import load_region_net
from isdu_bids.simulation.contrasts import ContrastSettings
from isdu_bids.simulation.demo_head import demo_head
from isdu_bids.training.dry_run import measure_cost
from isdu_bids.training.segmentation import Segmentation, segmentation_loss, validation_dice
from isdu_bids.training.tasks import parse_task
from isdu_bids.training.trainer import BEST_FILE, LOG_FILE, STATE_FILE, train

TINY = Segmentation(
    n_validation=1,
    features=(4, 8),
    contrast=ContrastSettings(size=(32, 32, 32)),
    steps=4,
    warmup_steps=1,
    decay_steps=2,
    average_decay=0.5,
    save_every=2,
    seed=3,
)


@pytest.fixture(scope="module")
def head():
    return demo_head((46, 54, 48), (4.0, 4.0, 4.0), torch.Generator().manual_seed(0))


def test_resuming_gives_the_same_weights_to_the_bit(head, tmp_path):
    """4 steps at once, or 2 and again 2: image, head and optimiser go on."""
    heads = [head, head.flip(2)]
    whole = load_region_net(train(TINY, heads, [head], tmp_path / "whole"))
    interrupted = tmp_path / "interrupted"
    half = replace(TINY, steps=2, decay_steps=0)  # same rates as the first half of the whole
    started = load_region_net(train(half, heads, [head], interrupted))
    torch.rand(1)  # torch's own generator is somewhere else when a new process starts
    resumed = load_region_net(train(TINY, heads, [head], interrupted))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert not torch.equal(whole.logits.weight, started.logits.weight)
    with (interrupted / LOG_FILE).open() as stream:
        assert [row["step"] for row in csv.DictReader(stream, delimiter="\t")] == ["2", "4"]
    for key, other in {
        "features": replace(TINY, features=(4, 4)),
        "max_noise": replace(TINY, contrast=replace(TINY.contrast, max_noise=0.5)),
        "seed": replace(TINY, seed=4),
    }.items():
        with pytest.raises(UsageError, match=key):
            train(other, heads, [head], interrupted)


def test_warm_start_goes_on_from_the_same_network(head, tmp_path):
    first = train(TINY, [head], [head], tmp_path / "first")
    still = replace(TINY, steps=1, learning_rate=0.0)
    second = train(still, [head], [head], tmp_path / "second", warm_start=first)
    trained, started = load_region_net(first), load_region_net(second)
    assert all(map(torch.equal, trained.parameters(), started.parameters()))
    with pytest.raises(UsageError, match=r"features \[4, 8\]"):
        replace(TINY, features=(4, 4)).new_network(first)


def test_a_network_with_susceptibility_begins_as_one_without(head, tmp_path):
    first = train(TINY, [head], [head], tmp_path / "first")
    both = replace(TINY, contrast=replace(TINY.contrast, susceptibility=True))
    image = torch.rand(1, 2, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    started, trained = both.new_network(first).eval(), load_region_net(first)
    with torch.inference_mode():
        assert torch.allclose(started(image), trained(image[:, :1]), atol=1e-5)
    second = train(both, [head], [head], tmp_path / "second", warm_start=first)
    assert load_region_net(second).inputs == 2
    with pytest.raises(UsageError, match="susceptibility = true"):
        TINY.new_network(second)


def test_images_of_other_processes_are_painted_alike_again(head, tmp_path):
    generator = torch.Generator().manual_seed(0)
    draws = [replace(TINY, workers=n).training_batches([head], tmp_path, "cpu") for n in (1, 2)]
    for step in (0, 3):
        assert torch.equal(*(draw(step, generator)[0] for draw in draws))


def test_batches_best_weights_and_patience_are_those_of_every_task(head, tmp_path):
    """With a learning rate of zero nothing improves after the first validation."""
    still = replace(TINY, steps=9, decay_steps=9, save_every=1, learning_rate=0.0)
    train(replace(still, patience=2, batch_size=2), [head], [head], tmp_path)
    assert torch.load(tmp_path / STATE_FILE)["step"] == 3
    assert load_region_net(tmp_path / BEST_FILE).features == (4, 8)


def test_images_count_alike_in_a_batch(head, tmp_path):
    """The loss of an image and the same image again is that of one; both halves are looked at."""
    draw = TINY.training_batches([head], tmp_path, "cpu")
    image, labels = draw(0, torch.Generator().manual_seed(0))
    network = TINY.new_network().eval()
    twice = (image.repeat(2, 1, 1, 1, 1), labels.repeat(2, 1, 1, 1, 1))
    for step in (0, 1):
        one, two = (
            float(TINY.loss_of(network, batch, step).detach()) for batch in ((image, labels), twice)
        )
        assert one == pytest.approx(two, rel=1e-4)


@pytest.fixture
def target():
    """Channels 0 to 3 of 6, in equal parts."""
    return torch.arange(4).repeat(16)


def certain_of(target, strength):
    """Logits ``(voxel, channel)``."""
    return strength * one_hot(target, 6).float()


def test_the_truth_has_no_loss(target):
    assert float(segmentation_loss(certain_of(target, 100), target)) == pytest.approx(0, abs=1e-6)


def test_loss_of_ignorance_and_of_certain_error(target):
    """Equal logits: ln 6, and each Dice is 2 (16 / 6) / (64 / 6 + 16) = 0.2."""
    ignorant = float(segmentation_loss(torch.zeros(64, 6), target))
    assert ignorant == pytest.approx(math.log(6) + 0.8)
    wrong = float(segmentation_loss(certain_of((target + 1) % 4, 10), target))
    assert wrong == pytest.approx(10 + 1, abs=1e-2)


def test_absent_regions_have_no_share_in_the_mean(target):
    """A channel that nobody expects and nobody sees changes nothing."""
    logits = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    more = torch.cat([logits, torch.full((64, 5), -100.0)], 1)
    expected = float(segmentation_loss(logits, target))
    assert float(segmentation_loss(more, target)) == pytest.approx(expected)


def test_dice_of_all_images_together():
    class SaysPutamen(torch.nn.Module):
        labels = SYNTHSEG_LABELS

        def forward(self, image):
            channel = (image[:, 0] > 0.5) * SYNTHSEG_LABELS.index(12)
            return one_hot(channel, 33).movedim(-1, 1)

    labels = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    labels[0, :2] = 12
    image = torch.zeros(2, 4, 4, 4)
    image[0, :1], image[1, 3] = 1, 1  # half of it is found, and as much where it is not
    dice = validation_dice(
        SaysPutamen(), list(zip(image[:, None, None], labels[:, None, None], strict=True))
    )
    assert dice[12] == pytest.approx(2 * 16 / (32 + 32))
    assert 0 not in dice
    assert dice[51] == 0


def test_the_cost_of_a_step(head, tmp_path):
    cost = measure_cost(TINY, [head], tmp_path)
    blocks = 16**3  # of 2 x 2 x 2 voxels
    fine = 27 * (8 * 4 + 4 * 4) + 27 * (12 * 4 + 4 * 4) + 4 * 8 * 33
    coarse = 27 * (4 * 8 + 8 * 8)
    first = 27 * 8 * 4  # the image needs no gradient
    assert cost.flop_per_step == 2 * (3 * (blocks * fine + blocks // 8 * coarse) - blocks * first)
    norms, bias = 2 * (4 * 4 + 2 * 8), 8 * 33
    assert cost.parameters == fine + coarse + norms + bias
    assert cost.hours == pytest.approx(4 * cost.seconds_per_step / 3600)
    assert 0 < cost.drawing_seconds_per_step < cost.seconds_per_step


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"stepz": 5}, "recipe: unknown key 'stepz'"),
        ({"batch_size": 0}, "batch_size = 0: it must be at least 1"),
        ({"contrast": 5}, r"\[contrast\]: 5 is no section"),
        ({"contrast": {"sise": 5}}, r"\[contrast\]: unknown key 'sise'"),
        ({"contrast": {"size": [32, 32]}}, "list of 3"),
        ({"features": [4] * 6}, "multiples of 64"),
    ],
)
def test_what_a_recipe_cannot_hold_is_named(content, message):
    with pytest.raises(UsageError, match=message):
        parse_task({"task": "segmentation", **content}, "recipe")


def test_features_may_be_of_any_number():
    content = {"features": [4, 8], "contrast": {"size": [32, 36, 40]}}
    assert parse_task({"task": "segmentation", **content}, "recipe").features == (4, 8)
