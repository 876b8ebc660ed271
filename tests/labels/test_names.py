"""Names of classes: ImageNet's, and those that users give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_convert.errors import UsageError
from vit_convert.labels.names import imagenet1k, imagenet1k_synsets, labels_for, read_labels
from vit_convert.parity.sources.torch_compat import import_vision

NAMES = ("cat", "dog", "cat", "çà et là, 東京")


def written(folder: Path, content: str | bytes, name: str = "labels.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_imagenet_has_a_thousand_different_names() -> None:
    assert len(imagenet1k()) == len(set(imagenet1k())) == 1000
    assert len(imagenet1k_synsets()) == len(set(imagenet1k_synsets())) == 1000
    assert all(name == name.strip() and name for name in imagenet1k())


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "tench"), (1, "goldfish"), (207, "golden retriever"), (281, "tabby"), (388, "giant panda"),
     (463, "bucket"), (817, "sports car"), (954, "banana"), (999, "toilet tissue")],
)  # fmt: skip
def test_imagenet_is_in_the_order_of_published_checkpoints(index: int, name: str) -> None:
    assert imagenet1k()[index] == name


def test_imagenet_agrees_with_timm() -> None:
    info = import_vision("timm.data").ImageNetInfo("imagenet-1k")
    assert list(imagenet1k_synsets()) == info.label_names()
    lemmas = [info.index_to_description(index).split(", ") for index in range(1000)]
    renamed = {index: name for index, name in enumerate(imagenet1k()) if name != lemmas[index][0]}
    assert renamed == {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(NAMES),
        "\n".join(NAMES) + "\n",
        "\r\n".join(NAMES) + "\r\n\r\n \n",
        "\ufeff" + "\n".join(NAMES),
        json.dumps(NAMES),
        "\n " + json.dumps(NAMES, ensure_ascii=False),
        json.dumps({str(index): name for index, name in enumerate(NAMES)}),
        json.dumps({str(index): NAMES[index] for index in (2, 0, 3, 1)}),
        json.dumps(
            {
                "model_type": "vit",
                "id2label": {str(index): NAMES[index] for index in (3, 2, 1, 0)},
                "label2id": {name: index for index, name in enumerate(NAMES)},
            }
        ),
    ],
    ids=["lines", "last newline", "blank lines at the end", "byte order mark", "JSON list",
         "JSON list after blanks", "JSON object", "JSON object out of order", "config.json"],
)  # fmt: skip
def test_labels_are_read_in_the_order_of_their_indices(tmp_path: Path, content: str) -> None:
    assert read_labels(written(tmp_path, content)) == NAMES
    assert read_labels(str(written(tmp_path, content, "config.json"))) == NAMES


@given(st.lists(st.text(min_size=1).map(str.strip).filter(bool), min_size=1))
def test_a_json_list_gives_back_any_names(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = written(tmp_path_factory.mktemp("labels"), json.dumps(names))
    assert read_labels(path) == tuple(names)


def test_a_name_may_hold_any_separator_but_the_newline(tmp_path: Path) -> None:
    names = ("a\u2028b", "c, d; e", "f\x0cg", "h\ti")
    assert read_labels(written(tmp_path, "\n".join(names))) == names


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "holds no labels"),
        (" \n\n", "holds no labels"),
        ("[]", "holds no labels"),
        ("{}", "holds no labels"),
        ("cat\n\ndog\n", "label 1 is not a name: ''"),
        ('["cat", " "]', "label 1 is not a name: ' '"),
        ('["cat", 7]', "label 1 is not a name: 7"),
        ('{"0": ["n01440764", "tench"]}', "label 0 is not a name: ['n01440764', 'tench']"),
        ('{"0": "cat", "2": "dog"}', "has 2 entries, but none for index 1"),
        ('{"1": "cat", "2": "dog"}', "has 2 entries, but none for index 0"),
        ('{"cat": 0, "dog": 1}', "has 2 entries, but none for index 0"),
        ('{"id2label": ["cat"]}', "its id2label is no JSON object"),
        ("{0: 'tench, Tinca tinca', 1: 'goldfish'}", "begins like JSON but is not"),
        ('["cat", "dog"', "begins like JSON but is not"),
        ("[" * 200_000, "begins like JSON but is not"),
        (b"caf\xe9\n", "is not UTF-8 text"),
        ("cat\ndog\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(
    tmp_path: Path, content: str | bytes, what: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as error:
        read_labels(path)
    assert error.value.what.startswith(what)
    assert error.value.where == str(path)
    assert error.value.expected


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.txt: cannot be read: No such file"):
        read_labels(tmp_path / "missing.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path)


def test_given_labels_must_be_as_many_as_the_classes() -> None:
    assert labels_for(4, NAMES) == NAMES
    assert labels_for(4, list(NAMES)) == NAMES
    with pytest.raises(UsageError, match="4 labels were given for a model of 5 classes"):
        labels_for(5, NAMES)
    with pytest.raises(UsageError, match="4 labels were given for a model of 1000 classes"):
        labels_for(1000, NAMES)
    with pytest.raises(UsageError, match="4 labels were given for a model of 0 classes"):
        labels_for(0, NAMES)


def test_without_labels_a_thousand_classes_are_imagenets_and_others_have_no_names() -> None:
    assert labels_for(1000) == imagenet1k()
    assert labels_for(1000, ("x",) * 1000) == ("x",) * 1000
    assert labels_for(999) == labels_for(1001) == labels_for(10) == labels_for(0) == ()
