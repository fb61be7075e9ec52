"""``tinygraph reproduce``: the tasks with a baseline beside them, at sizes that train in a moment."""

import io
import re
import zipfile

import numpy as np
import pytest
from data_files import SHARED
from PIL import Image

from tinygraph.errors import ArgumentError, DataError
from tinygraph.models.siamese_networks import pixel_similarity
from tinygraph.tools import reproduce
from tinygraph.tools.experiments import siamese
from tinygraph.tools.experiments import transfer as transfer_experiment
from tinygraph.tools.reproduce import emotions, one_shot, transfer
from tinygraph.tools.reproduce.seeds import percent

pytestmark = pytest.mark.host


def needs(folder):
    return pytest.mark.skipif(not (SHARED / folder).is_dir(), reason=f"needs the files of {folder}")


def percentages(line):
    """The percentages in a line, deviations left out."""
    return [float(p) for p in re.findall(r"([\d.]+) %", line)]


def lines_of(name, **options):
    return list(reproduce.run(name, **options))


@pytest.mark.parametrize("name", ["emotions", "cora", "one-shot", "transfer", "fashion-mnist"])
def test_a_task_is_listed_and_refuses_what_it_has_not(name):
    assert any(line.startswith(f"{name} ") for line in reproduce.listed())
    with pytest.raises(ArgumentError, match=f"reproduce {name} has no --rows"):
        lines_of(name, rows="tanh")


@pytest.mark.parametrize("name", ["emotions", "cora", "one-shot", "fashion-mnist"])
def test_no_seed_is_no_run(name, tmp_path):
    with pytest.raises(ArgumentError, match="seeds"):
        lines_of(name, seeds=0, data_dir=tmp_path)


@pytest.mark.parametrize("name", ["emotions", "cora", "one-shot", "fashion-mnist"])
def test_files_that_are_not_there_are_named(name, tmp_path):
    with pytest.raises(DataError, match=r"expected .*\.(arff|npz|zip|gz)"):
        lines_of(name, data_dir=tmp_path)


def test_percentages_of_seeds():
    assert percent([0.125]) == "12.5 %"
    assert percent([0.1, 0.3]) == f"20.0 % (standard deviation {100 * np.sqrt(0.02):.1f})"


# classes of images ------------------------------------------------------------------------------


def test_hidden_layers_do_better_than_a_softmax_layer_alone():
    first, deep, alone = lines_of("fashion-mnist", data_set="digits", passes=5, seeds=1)
    assert "1442 training and 355 test samples" in first
    assert deep.endswith("64-512-512-10")
    assert alone.endswith("64-10, a softmax layer alone")
    assert percentages(deep)[0] < percentages(alone)[0] < 50


# emotions ---------------------------------------------------------------------------------------


@needs("multilabel")
def test_emotions_beside_the_more_frequent_answer_by_plain_loops(monkeypatch):
    monkeypatch.setattr(emotions, "EPOCHS", 15)
    lines = lines_of("emotions", seeds=1, data_dir=SHARED)
    assert lines[0].startswith("emotions: 391 training and 202 test samples")
    labels = []
    for split in ("train", "test"):
        text = (SHARED / "multilabel" / f"emotions-{split}.arff").read_text()
        labels.append([[int(v) for v in row.split(",")[72:]] for row in text.split("@data")[1].split()])
    train, test = labels
    wrong = 0
    for t in range(6):
        answer = int(2 * sum(row[t] for row in train) > len(train))
        wrong += sum(row[t] != answer for row in test)
    baseline = 100 * wrong / (6 * len(test))
    assert percentages(lines[-1]) == [pytest.approx(baseline, abs=0.05)]
    together, any_label = percentages(lines[1])
    assert together < baseline - 5
    assert any_label > together
    assert len(lines) == 5


@needs("multilabel")
@pytest.mark.parametrize(
    ("end", "text"), [(",2\n", "damaged: expected 72 numbers and 6 labels"), (",x\n", "damaged"), (",\n", "damaged")]
)
def test_a_damaged_file_of_emotions_is_named(tmp_path, end, text):
    for split in ("train", "test"):
        content = (SHARED / "multilabel" / f"emotions-{split}.arff").read_text().rstrip()
        (tmp_path / f"emotions-{split}.arff").write_text(content[:-2] + end if split == "test" else content)
    with pytest.raises(DataError, match=rf"emotions-test\.arff: {text}"):
        lines_of("emotions", seeds=1, data_dir=tmp_path)


# Cora -------------------------------------------------------------------------------------------


@needs("cora")
def test_citations_do_better_than_words_alone():
    first, both, words = lines_of("cora", seeds=1, passes=4, data_dir=SHARED)
    assert "2708 nodes, 5278 edges, 140 labelled nodes" in first
    assert percentages(both)[0] < percentages(words)[0] < 50


# one shot ---------------------------------------------------------------------------------------


def by_loops(archive, folder):
    """A test by plain loops: of each file the ink in every block of 5 x 5, and which file is whose answer."""
    images = {}
    for kind in ("training/class", "test/item"):
        for i in range(1, 21):
            name = f"{folder}/{kind}{i:02}.png"
            ink = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) < 128
            corners = [(r, c) for r in range(0, 105, 5) for c in range(0, 105, 5)]
            images[name] = np.array([ink[r : r + 5, c : c + 5].sum() / 25 for r, c in corners])
    text = archive.read(f"{folder}/class_labels.txt").decode()
    return images, dict(line.split() for line in text.splitlines())


@needs("omniglot")
def test_one_shot_beside_nearest_neighbours_by_plain_loops(monkeypatch):
    monkeypatch.setitem(siamese.TASKS, "omniglot", siamese.Task(640, 1, (5,)))
    lines = lines_of("one-shot", seeds=1, passes=1, data_dir=SHARED)
    wrong = total = 0
    with zipfile.ZipFile(SHARED / "omniglot" / "all_runs.zip") as archive:
        for k in range(1, 21):
            images, answers = by_loops(archive, f"run{k:02}")
            support = [name for name in images if "/training/" in name]
            for item, answer in answers.items():
                nearest = min(support, key=lambda name: ((images[name] - images[item]) ** 2).sum())
                wrong += nearest != answer
                total += 1
    assert total == 400
    assert percentages(lines[2]) == [pytest.approx(100 * wrong / total, abs=0.05)]
    assert 0 < percentages(lines[1])[0] < 95
    assert len(lines) == 4


@needs("omniglot")
@pytest.mark.parametrize("folder", ["run01", "run20"])
def test_ink_and_answers_are_those_of_the_files(folder):
    with zipfile.ZipFile(SHARED / "omniglot" / "all_runs.zip") as archive:
        test, (images, answers) = one_shot._test(archive, folder), by_loops(archive, folder)
    for rows, kind in ((test.support, "training/class"), (test.query, "test/item")):
        for i, row in enumerate(rows, 1):
            np.testing.assert_allclose(row, images[f"{folder}/{kind}{i:02}.png"], atol=1e-6)
    right = {int(item[-6:-4]): int(character[-6:-4]) for item, character in answers.items()}
    assert [right[i] - 1 for i in range(1, 21)] == test.answer.tolist()


def test_images_that_are_equal_are_told_and_wrong_answers_counted():
    eye, order = np.eye(20, 441, dtype=np.float32), np.roll(np.arange(20), 3)
    assert one_shot._error(pixel_similarity, [one_shot.Run(eye, eye[order], order)]) == 0
    partly = order.copy()
    partly[:5] = order[5]
    assert one_shot._error(pixel_similarity, [one_shot.Run(eye, eye[order], partly)]) == 5 / 20


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_archive_is_named(tmp_path, content):
    path = tmp_path / "all_runs.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("run01/class_labels.txt", "run01/test/item01.png run01/training/class30.png\n")
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"all_runs\.zip: damaged"):
        lines_of("one-shot", data_dir=tmp_path)


# transfer ---------------------------------------------------------------------------------------


def test_transfer_for_fewer_and_more_samples(monkeypatch):
    monkeypatch.setattr(transfer, "SAMPLES", (1, 8))
    monkeypatch.setattr(transfer_experiment, "SUBSETS", 2)
    asked = []
    few = transfer_experiment.TransferExperiment._few

    def noted(self, subset):
        X, Y = few(self, subset)
        asked.append(Y.sum(axis=0).tolist())
        return X, Y

    monkeypatch.setattr(transfer_experiment.TransferExperiment, "_few", noted)
    first, one, eight = lines_of("transfer", data_set="digits", hidden="32")
    assert "[64, 32, 5] on digits" in first
    assert asked.count([1] * 5) == asked.count([8] * 5) == 3 * 2
    assert one.startswith("1 of each new digit: ")
    for way in transfer_experiment.WAYS:
        errors = [float(re.search(rf"{way} ([\d.]+) %", line)[1]) for line in (one, eight)]
        assert errors[1] < errors[0] < 80


def test_another_seed_is_another_transfer(monkeypatch):
    monkeypatch.setattr(transfer, "SAMPLES", (2,))
    monkeypatch.setattr(transfer_experiment, "SUBSETS", 2)
    runs = [lines_of("transfer", data_set="digits", hidden="16", seed=seed)[1] for seed in (0, 1, 0)]
    assert runs[0] == runs[2] != runs[1]
