"""Files: whole or not at all, the same net back, and nothing broken or hostile gets in."""

import json
import os

import numpy as np
import pytest
import safetensors.numpy

import bpkernel as bp
from bpkernel import serialization


@pytest.fixture
def net():
    return bp.MLP((4, 17, 9, 3), ["relu", "logistic"], "softmax", "cross_entropy", "float64", random_state=0)


def test_a_net_comes_back_bit_for_bit(net, tmp_path):
    X = np.random.default_rng(0).standard_normal((20, 4))
    net.save(tmp_path / "net.safetensors", {"note": {"a": [1, None, "ü"]}})
    again = bp.MLP.load(str(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert repr(again) == repr(net)
    assert serialization.load(tmp_path / "net.safetensors")[1]["note"] == {"a": [1, None, "ü"]}
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_linear_model_of_float32_comes_back(tmp_path):
    net = bp.MLP((8, 3), random_state=0)
    net.save(tmp_path / "net")
    assert bp.MLP.load(tmp_path / "net").weights[0].tolist() == net.weights[0].tolist()


def test_a_failed_write_leaves_the_old_file(net, tmp_path, monkeypatch):
    path = tmp_path / "net"
    net.save(path)
    before = path.read_bytes()
    net.weights[0][:] = 0

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


def test_links_are_followed_and_pipes_written_into(net, tmp_path):
    net.save(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    net.weights[0][:] = 0
    net.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert not bp.MLP.load(tmp_path / "real").weights[0].any()
    serialization.write_atomically(os.devnull, b"x")
    assert not os.path.isfile(os.devnull)


def test_a_folder_that_is_not_there_is_told(net, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        net.save(tmp_path / "none" / "net")


def test_metadata_may_not_take_the_keys_of_the_net(net, tmp_path):
    for metadata in ({"net": 1}, {"format": "x"}, [1]):
        with pytest.raises(ValueError, match="metadata must be a dictionary"):
            net.save(tmp_path / "net", metadata)
    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        bp.MLP.load(tmp_path / "none")


def rewrite(path, change):
    tensors, _ = serialization.load(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = dict(file.metadata())
    change(tensors, metadata)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def architecture(**changes):
    def change(tensors, metadata):
        metadata["net"] = json.dumps({**json.loads(metadata["net"]), **changes})

    return change


BROKEN = {
    "no metadata": lambda t, m: m.clear(),
    "another format": lambda t, m: m.update(format="other"),
    "metadata that is no JSON": lambda t, m: m.update(net="{"),
    "metadata of the wrong kind": lambda t, m: m.update(net="[]"),
    "no net": lambda t, m: m.pop("net"),
    "a missing tensor": lambda t, m: t.pop("biases.1"),
    "an extra tensor": lambda t, m: t.update(other=np.zeros(3)),
    "a wrong shape": lambda t, m: t.update({"biases.1": np.zeros(4)}),
    "a wrong dtype": lambda t, m: t.update({"weights.1": t["weights.1"].astype("float32")}),
    "huge sizes": architecture(layer_sizes=[4, 10**15, 9, 3]),
    "sizes that are no numbers": architecture(layer_sizes="abcd"),
    "an unknown activation": architecture(activation=["relu", "os.system"]),
    "an unknown parameter": architecture(other=1),
    "metadata that nests too deep": lambda t, m: m.update(net="[" * 200_000),
    "a random state": architecture(random_state=3),
    "layers that lack their gains": architecture(layer_norm=[True, True]),
    "a layer_norm that is no bool": architecture(layer_norm="all"),
    "an unknown dtype": architecture(dtype="object"),
    "weights that are not finite": lambda t, m: t["weights.0"].fill(np.nan),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_net_is_refused(net, tmp_path, kind):
    path = tmp_path / "net"
    net.save(path)
    rewrite(path, BROKEN[kind])
    with pytest.raises(ValueError, match=r"does not hold a net|is not a net|not all finite"):
        bp.MLP.load(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04.", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "net"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a net that bpkernel saved"):
        bp.MLP.load(path)


def test_a_truncated_file_is_refused(net, tmp_path):
    path = tmp_path / "net"
    net.save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="damaged"):
        bp.MLP.load(path)


def test_the_same_net_gives_the_same_file(tmp_path):
    net = bp.MLP((3, 4, 2), random_state=0)
    net.save(tmp_path / "first", {"b": 1, "a": "é", "c": [None]})
    first = (tmp_path / "first").read_bytes()
    assert (8 + int.from_bytes(first[:8], "little")) % 8 == 0
    for _ in range(5):
        net.save(tmp_path / "again", {"b": 1, "a": "é", "c": [None]})
        assert (tmp_path / "again").read_bytes() == first
    assert bp.MLP.load_with_metadata(tmp_path / "first")[1].items() >= {"b": 1, "a": "é", "c": [None]}.items()
