"""The character task: coding, windows, and every way a file can be wrong."""

import hashlib
import json
import math

import jax
import numpy as np
import pytest

from jaxrnn.tasks import decode, encode, text

PROSE = "abcdefghij" * 20  # every character names its own position modulo ten


@pytest.fixture
def prose(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(PROSE, encoding="utf-8")
    return path


@pytest.mark.parametrize("sample", ["", "a", "hello\r\nworld\n", "naïve – “ß” 🙂\u0000", PROSE])
def test_decode_inverts_encode(sample):
    vocabulary = "".join(sorted(set(sample)))
    tokens = encode(sample, vocabulary)
    assert tokens.dtype == np.int32
    assert tokens.shape == (len(sample),)
    assert decode(tokens, vocabulary) == sample


def test_encode_gives_positions_in_an_unsorted_vocabulary():
    assert encode("abc", "cab").tolist() == [1, 2, 0]


def test_encode_names_the_unknown_character():
    with pytest.raises(ValueError, match=r"got the character 'z' at position 2; expected.*2 char"):
        encode("abz", "ab")
    with pytest.raises(ValueError, match="got the character 'a' at position 0"):
        encode("a", "")


def test_encode_refuses_a_repeated_character():
    with pytest.raises(ValueError, match="vocabulary: got 'b' more than once"):
        encode("ab", "bab")


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([0, 2], ValueError, r"got 2 at position 1; expected tokens from 0 to 1"),
        ([-1], ValueError, r"got -1 at position 0"),
        ([0.5], TypeError, r"got dtype float64; expected integers"),
        ([[0, 1]], ValueError, r"got shape \(1, 2\); expected one axis"),
    ],
)
def test_decode_refuses(tokens, error, message):
    with pytest.raises(error, match=message):
        decode(tokens, "ab")


def test_task_facts(prose):
    task = text(prose, length=7, batch_size=3)
    assert (task.name, task.kind, task.input_size, task.output_size) == ("text", "tokens", 10, 10)
    assert task.info["vocabulary"] == "abcdefghij"
    assert task.info["characters"] == 200
    assert task.info["sha256"] == hashlib.sha256(PROSE.encode()).hexdigest()
    assert task.info["baseline_loss"] == pytest.approx(math.log(10))
    assert json.loads(json.dumps(task.info)) == task.info


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_text_and_targets_are_one_ahead(prose, seed):
    task = text(prose, length=7, batch_size=3)
    xs, targets, mask = task.sample(jax.random.key(seed))
    assert (xs.shape, targets.shape, mask.shape) == ((7, 3), (7, 3), (7, 3))
    assert (xs.dtype, targets.dtype, mask.dtype) == (np.int32, np.int32, np.bool_)
    assert bool(mask.all())
    assert np.array_equal(xs[1:], targets[:-1])
    assert np.array_equal(targets, (xs + 1) % 10)
    for row in range(3):
        assert decode(xs[:, row], task.info["vocabulary"]) in PROSE


def test_every_start_is_drawn_and_none_beyond(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("abcd", encoding="utf-8")
    xs, targets, _ = text(path, length=2, batch_size=64).sample(jax.random.key(0))
    assert {decode(xs[:, row], "abcd") for row in range(64)} == {"ab", "bc"}
    assert {decode(targets[:, row], "abcd") for row in range(64)} == {"bc", "cd"}


def test_stream_windows_continue_each_other_and_wrap(prose):
    task = text(prose, length=7, batch_size=3)
    steps = task.info["stream_steps"]
    assert steps == 199 // 21
    batches = [task.stream(step) for step in range(steps)]
    for before, after in zip(batches, batches[1:], strict=False):
        assert np.array_equal(before.targets[-1], after.xs[0])
    rows = [
        "".join(decode(batch.xs[:, row], "abcdefghij") for batch in batches) for row in range(3)
    ]
    # end to end, without overlap or gap: the streams rebuild the text
    assert "".join(rows) == PROSE[: 3 * steps * 7]
    assert np.array_equal(task.stream(steps).xs, batches[0].xs)
    assert np.array_equal(task.stream(2 * steps + 1).targets, batches[1].targets)
    assert f"{199 - 3 * steps * 7} targets at the end" in task.info["stream_note"]


def test_stream_traces_once_over_steps(prose):
    task = text(prose, length=7, batch_size=3)
    traces = []

    @jax.jit
    def fetch(stream, step):
        traces.append(step)
        return stream(step)

    for step in range(3):
        eager = task.stream(step)
        assert np.array_equal(fetch(task.stream, step).xs, eager.xs)
    assert len(traces) == 1


@pytest.mark.parametrize("step", [1.0, True, np.zeros(2, np.int32)])
def test_stream_refuses_what_is_no_step(prose, step):
    with pytest.raises(TypeError, match="stream: step: got .* expected an integer scalar"):
        text(prose, length=7, batch_size=3).stream(step)


def test_stream_is_none_one_character_short(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(PROSE[:40], encoding="utf-8")
    task = text(path, length=10, batch_size=4)
    assert task.stream is None
    assert task.info["stream_steps"] == 0
    assert "need 41 rows, the data have 40" in task.info["stream_note"]
    path.write_text(PROSE[:41], encoding="utf-8")
    assert text(path, length=10, batch_size=4).info["stream_steps"] == 1


def test_the_data_travel_as_an_argument(prose):
    task = text(prose, length=7, batch_size=3)
    for function in (task.sample, task.stream):
        (data,) = jax.tree.leaves(function)
        assert data.shape == (200,)
    jaxpr = jax.make_jaxpr(lambda sample, key: sample(key))(task.sample, jax.random.key(0))
    assert all(np.size(const) < 200 for const in jaxpr.consts)


def test_line_ends_and_byte_order_mark_are_characters(tmp_path):
    path = tmp_path / "dos.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    task = text(path, length=2, batch_size=1)
    assert task.info["vocabulary"] == "\n\rab\ufeff"
    assert task.info["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_default_corpus_is_the_help_of_python():
    from pydoc_data.topics import topics

    prose = "".join(topics[name] for name in sorted(topics))
    task = text(length=50, batch_size=4)
    assert task.info["characters"] == len(prose) > 300_000
    assert task.info["sha256"] == hashlib.sha256(prose.encode()).hexdigest()
    assert task.info["source"].startswith("pydoc_data.topics of Python 3.")
    assert 2.5 < task.info["baseline_loss"] < math.log(task.input_size)
    batch = task.sample(jax.random.key(3))
    assert decode(batch.xs[:, 1], task.info["vocabulary"]) in prose


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got .*nowhere.txt', where nothing exists; exp"):
        text(tmp_path / "nowhere.txt")


def test_directory(tmp_path):
    with pytest.raises(IsADirectoryError, match="got the directory .*; expected a file; name one"):
        text(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=r"empty.txt', which is empty \(0 bytes\)"):
        text(tmp_path / "empty.txt")


def test_not_utf8_says_where(tmp_path):
    (tmp_path / "latin.txt").write_bytes("ß".encode() + b"caf\xe9 au lait")
    with pytest.raises(ValueError, match="not UTF-8: byte 0xe9 at byte offset 5"):
        text(tmp_path / "latin.txt", length=2)


def test_one_character_too_short(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("abc", encoding="utf-8")
    with pytest.raises(ValueError, match=r"length 3 for 3 char.*\+ 1 = 4.*length of 2 or less"):
        text(path, length=3)
    assert text(path, length=2, batch_size=1).info["characters"] == 3
    path.write_text("a", encoding="utf-8")
    with pytest.raises(ValueError, match="pass a longer text$"):
        text(path, length=1)


def test_single_distinct_character(tmp_path):
    (tmp_path / "same.txt").write_text("aaaa", encoding="utf-8")
    with pytest.raises(ValueError, match="repeats the one character 'a'; expected at least two"):
        text(tmp_path / "same.txt", length=2)


def test_parts_meet_and_share_a_vocabulary(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab" * 45 + "cd" * 5, encoding="utf-8")
    whole, first, rest = (
        text(path, length=4, batch_size=50, part=part) for part in [(0, 1), (0, 0.9), (0.9, 1)]
    )
    for task, characters, seen in [(first, 90, "ab"), (rest, 10, "cd"), (whole, 100, "abcd")]:
        assert task.info["vocabulary"] == "abcd"
        assert task.info["characters"] == characters
        assert task.info["baseline_loss"] == whole.info["baseline_loss"]
        batch = task.sample(jax.random.key(0))
        assert set(decode(np.ravel(batch.xs), "abcd")) == set(seen)
    assert (first.info["part"], rest.info["part"]) == ([0, 0.9], [0.9, 1])


@pytest.mark.parametrize(
    "part, error, message",
    [
        ((0.5, 0.5), ValueError, r"text: part: got \(0.5, 0.5\); expected 0 <= start < stop <= 1"),
        ((-0.1, 1), ValueError, "text: part: got .*expected 0 <= start"),
        ((0, float("nan")), ValueError, "text: part: got .*expected 0 <= start"),
        (0.9, TypeError, "text: part: got 0.9; expected a pair of fractions; pass"),
        ((0.99, 1), ValueError, "length 5 for 2 characters in the part 0.99 to 1; .* at least"),
    ],
)
def test_refuses_what_is_no_part(part, error, message, prose):
    with pytest.raises(error, match=message):
        text(prose, length=5, batch_size=1, part=part)
