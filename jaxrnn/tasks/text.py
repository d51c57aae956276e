"""Character-level language modelling on a text file, or on prose that comes with Python."""

import hashlib
import platform
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks._shared import (
    explain,
    positive_int,
    read_utf8,
    shorter_or_more,
    take_part,
    window_functions,
)
from jaxrnn.tasks.types import Task

__all__ = ["decode", "encode", "text"]


def encode(text: str, vocabulary: str) -> np.ndarray:
    """Turns characters into tokens: the position of each character in `vocabulary`.

    Args:
      text: the characters.
      vocabulary: distinct characters, in any order.

    Returns:
      int32 ``(len(text),)``.

    Raises:
      ValueError: a character is not in the vocabulary, or the vocabulary repeats one.

    Example:
      >>> encode("abba", "ab").tolist()
      [0, 1, 1, 0]
    """
    known = _codes(vocabulary)
    order = np.argsort(known, kind="stable")
    ranked = known[order]
    twice = np.flatnonzero(ranked[1:] == ranked[:-1])
    if twice.size:
        raise ValueError(
            explain(
                "encode: vocabulary",
                got=f"{chr(ranked[twice[0]])!r} more than once",
                expected="distinct characters",
                remedy="pass ''.join(sorted(set(text)))",
            )
        )
    codes = _codes(text)
    if codes.size == 0:
        return np.zeros((0,), np.int32)
    missing = np.flatnonzero(~np.isin(codes, known))
    if missing.size:
        raise ValueError(
            explain(
                "encode: text",
                got=f"the character {text[missing[0]]!r} at position {missing[0]}",
                expected=f"only the {len(vocabulary)} characters of the vocabulary",
                remedy="remove it, or make the vocabulary from a text that has it",
            )
        )
    return order[np.searchsorted(ranked, codes)].astype(np.int32)


def decode(tokens: np.ndarray | jax.Array | list[int], vocabulary: str) -> str:
    """Turns tokens into characters; the inverse of `encode`.

    Args:
      tokens: integers ``(N,)`` in ``[0, len(vocabulary))``.
      vocabulary: the characters, by token.

    Returns:
      A string of N characters.

    Raises:
      TypeError: the tokens are not integers.
      ValueError: the tokens are not one-dimensional, or one is out of range.

    Example:
      >>> decode([0, 1, 1, 0], "ab")
      'abba'
    """
    array = np.asarray(tokens)
    if array.ndim != 1:
        raise ValueError(
            explain(
                "decode: tokens",
                got=f"shape {array.shape}",
                expected="one axis, (N,)",
                remedy="decode one sequence at a time, for example batch.xs[:, 0]",
            )
        )
    if array.size == 0:
        return ""
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            explain(
                "decode: tokens",
                got=f"dtype {array.dtype}",
                expected="integers",
                remedy="take an argmax or a sample over the logits first",
            )
        )
    outside = np.flatnonzero((array < 0) | (array >= len(vocabulary)))
    if outside.size:
        raise ValueError(
            explain(
                "decode: tokens",
                got=f"{array[outside[0]]} at position {outside[0]}",
                expected=f"tokens from 0 to {len(vocabulary) - 1}",
                remedy="use the vocabulary that the tokens were made with",
            )
        )
    return "".join(vocabulary[token] for token in array.tolist())


def text(
    path: str | PathLike[str] | None = None,
    *,
    length: int = 100,
    batch_size: int = 32,
    part: tuple[float, float] = (0, 1),
) -> Task:
    """Makes the task of predicting the next character of a text.

    Targets are the inputs one character ahead. The vocabulary is the sorted set of the characters
    in the text, so ``input_size == output_size == len(info["vocabulary"])``. To hold text out make
    two tasks of two parts, such as ``part=(0, 0.9)`` and ``part=(0.9, 1)``.

    Args:
      path: a UTF-8 file, read as it is (line ends and a byte order mark are characters). None takes
        the English prose of Python's own help (`pydoc_data.topics`), about half a million
        characters. It changes from one Python version to the next: `info` names it.
      length: characters T in a window.
      batch_size: windows B in a batch.
      part: fractions ``(start, stop)``: the windows lie between these positions of the text;
        vocabulary and baseline stay those of the whole text.

    Returns:
      A `Task` of kind ``"tokens"``: xs and targets int32 ``(T, B)``, every position counted.
      `stream` is None when ``batch_size * length + 1`` characters are more than there are.
      ``info["baseline_loss"]`` is the entropy of single characters, in nats per character.

    Raises:
      FileNotFoundError: nothing is at `path`.
      IsADirectoryError: a directory is at `path`.
      TypeError: `length` or `batch_size` is not an integer, or `part` is no pair of numbers.
      ValueError: the file is empty, not UTF-8, its part shorter than ``length + 1`` characters or
        the text made of one single character; `part` is none; or a size is below one.

    Example:
      >>> import jax
      >>> task = text(length=20, batch_size=4)
      >>> batch = task.sample(jax.random.key(0))
      >>> batch.xs.shape, len(decode(batch.xs[:, 0], task.info["vocabulary"]))
      ((20, 4), 20)

    Reference:
      A. Graves, "Generating sequences with recurrent neural networks", 2013, section 3.
    """
    length = positive_int("length", length)
    batch_size = positive_int("batch_size", batch_size)
    if path is None:
        prose = _python_topics()
        raw = prose.encode("utf-8")
        source = f"pydoc_data.topics of Python {platform.python_version()}"
        licence = "PSF-2.0, as part of Python"
    else:
        raw, prose = read_utf8(path, "text")
        source, licence = str(path), "not stated"
    chosen = take_part(len(prose), part, task="text")
    characters = chosen.stop - chosen.start
    if characters < length + 1:
        place = "" if tuple(part) == (0, 1) else f" in the part {part[0]:g} to {part[1]:g}"
        raise ValueError(
            explain(
                "text: length",
                got=f"length {length} for {characters} characters{place}",
                expected=f"at least length + 1 = {length + 1} characters",
                remedy=shorter_or_more(characters, "text"),
            )
        )
    vocabulary = "".join(sorted(set(prose)))
    if len(vocabulary) == 1:
        raise ValueError(
            explain(
                "text: path",
                got=f"{source!r}, which repeats the one character {vocabulary!r}",
                expected="at least two different characters",
                remedy="name a text in which there is something to predict",
            )
        )
    tokens = encode(prose, vocabulary)
    share = np.bincount(tokens, minlength=len(vocabulary)) / tokens.size
    sample, stream, facts = window_functions(
        jnp.asarray(tokens[chosen]), length=length, batch_size=batch_size
    )
    info = {
        "source": source,
        "licence": licence,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "characters": characters,
        "part": [float(fraction) for fraction in part],
        "vocabulary": vocabulary,
        "length": length,
        "sequence_length": length,
        "batch_size": batch_size,
        "loss": "cross entropy, nats per character",
        "baseline": "the frequencies of single characters",
        "baseline_loss": float(-np.sum(share * np.log(share))),
        **facts,
    }
    return Task("text", "tokens", len(vocabulary), len(vocabulary), sample, stream, info)


def _codes(characters: str) -> np.ndarray:
    # one fixed-width code per character lets numpy look all of them up at once; a lone surrogate,
    # which Python strings may hold, passes through and is then reported like any other
    return np.frombuffer(characters.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _python_topics() -> str:
    # imported here: half a megabyte of source that only this default needs
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))
