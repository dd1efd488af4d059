"""Data sets that are not part of the package: where they are, what they are, how to get them, and reading them safely.

The data root is the first of: the argument (``--data-root`` on the command line), the environment variable
``NEUROMETA_DATA``, a per-user cache folder. Nothing is downloaded unless `fetch` is called; downloads are verified by
checksum and appear in the data root only when they are complete. Arrays are read without pickle, and whatever is
wrong with a file comes out as one `DataError` that names it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._download import download
from ._mnist import mnist_arrays
from ._npz import UNREADABLE, read_npz, reason
from ._omniglot import omniglot_arrays
from .errors import DataError, unknown

__all__ = [
    "DATA_SETS",
    "UNREADABLE",
    "DataSet",
    "MnistArrays",
    "OmniglotArrays",
    "data_root",
    "fetch",
    "info",
    "load_mnist",
    "load_omniglot",
    "read_npz",
]

ENVIRONMENT = "NEUROMETA_DATA"


class DataSet(NamedTuple):
    """One known data set.

    Attributes
    ----------
    what : str
        Content, in one line.
    licence : str
        Licence and owner.
    source : str
        Public home.
    size : int
        Bytes of the ``.npz`` file, about.
    downloads : mapping of str to str
        File name under the base URL -> checksum, for data sets that `fetch` knows how to make; else empty.
    base_url : str
        Where these files are.
    """

    what: str
    licence: str
    source: str
    size: int
    downloads: Mapping[str, str] = {}
    base_url: str = ""


DATA_SETS: dict[str, DataSet] = {
    "omniglot": DataSet(
        "1623 handwritten characters of 50 alphabets x 20 drawers (Lake et al. 2015, doi:10.1126/science.aab3050)",
        "MIT (c) 2015 Brenden Lake",
        "github.com/brendenlake/omniglot",
        7_347_308,
        {
            "images_background.zip": "md5:68d2efa1b9178cc56df9314c21c6e718",
            "images_evaluation.zip": "md5:6b91aef0f799c5bb55b94e3f2daec811",
        },
        "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    ),
    "mnist": DataSet(
        "70,000 handwritten digits, 28x28 (LeCun, Bottou, Bengio & Haffner 1998, doi:10.1109/5.726791)",
        "CC BY-SA 3.0 (c) Yann LeCun and Corinna Cortes",
        "yann.lecun.com/exdb/mnist",
        11_600_000,
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "movietweetings100k": DataSet(
        "100,000 film ratings 0-10 by 16,554 users on 10,506 films, with genres",
        "MIT (c) 2013 Simon Dooms",
        "github.com/sidooms/MovieTweetings, snapshots/100K",
        621_332,
    ),
    "fly_choice18": DataSet(
        "5,374 odour choices of 18 flies, with reward (Rajagopalan et al. 2023)",
        "unchecked: tests and private analysis only",
        "doi:10.5281/zenodo.7449214",
        3_418,
    ),
    "mnist_test_10x200": DataSet(
        "2,000 handwritten digits of the MNIST test set, 200 a class", "MIT repository", "MNIST test set", 329_269
    ),
}


class OmniglotArrays(NamedTuple):
    """Omniglot in memory.

    Attributes
    ----------
    images28 : ndarray
        Box-averaged grey, ink = 255, ``(1623, 20, 28, 28)`` uint8; axis 1 is the drawer.
    alphabet : ndarray
        Row of `alphabet_names` for each character, ``(1623,)``.
    character : ndarray
        Number of the character within its alphabet, from 1, ``(1623,)``.
    character_name : ndarray
        Such as ``"Greek/character01"``, ``(1623,)``.
    alphabet_names : ndarray
        ``(50,)``, background alphabets first.
    split : ndarray
        0 background (964 characters), 1 evaluation (659), ``(1623,)``.
    vinyals_split : ndarray
        0 train (1028), 1 validation (172), 2 test (423), ``(1623,)``.
    """

    images28: np.ndarray
    alphabet: np.ndarray
    character: np.ndarray
    character_name: np.ndarray
    alphabet_names: np.ndarray
    split: np.ndarray
    vinyals_split: np.ndarray


class MnistArrays(NamedTuple):
    """MNIST in memory.

    Attributes
    ----------
    train_images, test_images : ndarray
        Ink = 255, ``(60000, 28, 28)`` and ``(10000, 28, 28)`` uint8.
    train_labels, test_labels : ndarray
        Digits, ``(60000,)`` and ``(10000,)`` uint8.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the data sets; it need not exist.

    Parameters
    ----------
    root : path, optional
        A folder, as given by ``--data-root``. Otherwise the environment variable ``NEUROMETA_DATA`` is taken, and
        where that is not set, a per-user cache folder.

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> data_root("shelf").name
    'shelf'
    """
    chosen = os.fspath(root) if root else os.environ.get(ENVIRONMENT, "")
    if not chosen:
        import pooch

        chosen = os.fspath(pooch.os_cache("neurometa"))
    return Path(chosen).expanduser()


def info(root: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """List every known data set: ``name, present, path, what, licence, source, size, fetch``.

    Parameters
    ----------
    root : path, optional
        As in `data_root`.

    Returns
    -------
    list of dict
        ``size`` is in bytes, ``fetch`` says what to type or to do.

    Examples
    --------
    >>> [row["name"] for row in info("shelf")]
    ['omniglot', 'mnist', 'movietweetings100k', 'fly_choice18', 'mnist_test_10x200']
    """
    folder = data_root(root)
    rows: list[dict[str, Any]] = []
    for name, known in DATA_SETS.items():
        path = folder / f"{name}.npz"
        present = path.is_file()
        rows.append(
            {
                "name": name,
                "present": present,
                "path": str(path),
                "what": known.what,
                "licence": known.licence,
                "source": known.source,
                "size": path.stat().st_size if present else known.size,
                "fetch": _how(name),
            }
        )
    return rows


def _how(name: str) -> str:
    """Say how to get a data set."""
    if DATA_SETS[name].downloads:
        return f"neurometa data fetch {name}"
    return f"put {name}.npz into the data root (made from {DATA_SETS[name].source})"


def load_omniglot(root: str | os.PathLike[str] | None = None) -> OmniglotArrays:
    """Read Omniglot from the data root and check it.

    Parameters
    ----------
    root : path, optional
        As in `data_root`.

    Returns
    -------
    OmniglotArrays
        Images and labels.

    Raises
    ------
    DataError
        If the file is missing, damaged, or is not Omniglot.
    """
    path, fix = _find("omniglot", root)
    arrays = OmniglotArrays(**read_npz(path, OmniglotArrays._fields, fix))
    shapes = {"images28": (1623, 20, 28, 28), "alphabet_names": (50,)}
    kinds = {"images28": "u", "character_name": "U", "alphabet_names": "U"}
    for name, array in arrays._asdict().items():
        shape, kind = shapes.get(name, (1623,)), kinds.get(name, "ui")
        if array.shape != shape or array.dtype.kind not in kind or (name == "images28" and array.itemsize != 1):
            raise DataError(f"{path}: {name} is {array.dtype}{array.shape}, expected {shape} of kind '{kind}'; {fix}")
    for name, top in (("alphabet", 49), ("split", 1), ("vinyals_split", 2)):
        array = getattr(arrays, name)
        if array.min() < 0 or array.max() > top:
            raise DataError(f"{path}: {name} runs from {array.min()} to {array.max()}, expected 0 to {top}; {fix}")
    return arrays


def load_mnist(root: str | os.PathLike[str] | None = None) -> MnistArrays:
    """Read MNIST from the data root and check it.

    Parameters
    ----------
    root : path, optional
        As in `data_root`.

    Returns
    -------
    MnistArrays
        Images and labels; of a file that somebody made smaller, as many as it holds.

    Raises
    ------
    DataError
        If the file is missing, damaged, or does not hold images of digits.
    """
    path, fix = _find("mnist", root)
    arrays = MnistArrays(**read_npz(path, MnistArrays._fields, fix))
    for side in ("train", "test"):
        images, labels = getattr(arrays, f"{side}_images"), getattr(arrays, f"{side}_labels")
        shapes = (("images", images, (*labels.shape[:1], 28, 28)), ("labels", labels, images.shape[:1]))
        for name, array, shape in shapes:
            if array.shape != shape or array.dtype != np.uint8:
                raise DataError(f"{path}: {side}_{name} is {array.dtype}{array.shape}, expected uint8{shape}; {fix}")
        if sorted(np.unique(labels)) != [*range(10)]:
            raise DataError(f"{path}: {side}_labels are {np.unique(labels).tolist()}, expected all of 0 to 9; {fix}")
    return arrays


def _find(name: str, root: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """Return the file of a data set, and what to type where it turns out to be damaged."""
    path = data_root(root) / f"{name}.npz"
    if not path.is_file():
        raise DataError(
            f"no {name}.npz in {path.parent}; type 'neurometa data fetch {name}', "
            f"or set {ENVIRONMENT} (or --data-root) to the folder that holds it"
        )
    return path, f"type 'neurometa data fetch {name}' to replace it"


def fetch(
    name: str,
    root: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    progress: bool | Any = True,
    checksums: Mapping[str, str] | None = None,
) -> Path:
    """Download a data set from its public home, verify it, and put it into the data root.

    A file that is there and readable is left alone. Everything is made in a temporary folder (``.part``) inside the
    data root and moved into place in one step, so that an interruption leaves no half file.

    Parameters
    ----------
    name : str
        Data set, such as ``"omniglot"``.
    root : path, optional
        As in `data_root`; made if it does not exist.
    base_url : str, optional
        A mirror that serves the same files.
    progress : bool or object
        True draws a progress bar on stderr; an object with ``total``, ``update``, ``reset`` and ``close`` is used as
        the bar.
    checksums : mapping of str to str, optional
        Replaces the registry of files and checksums (``"md5:..."``).

    Returns
    -------
    Path
        The ``.npz`` file.

    Raises
    ------
    DataError
        If the name is unknown, the data set cannot be fetched, the download fails, or a checksum does not fit.
    """
    if name not in DATA_SETS:
        raise DataError(unknown("data set", name, DATA_SETS))
    known = DATA_SETS[name]
    if not known.downloads:
        raise DataError(f"{name} cannot be fetched; {_how(name)}")
    load, arrays = MAKERS[name]
    folder = data_root(root)
    path = folder / f"{name}.npz"
    try:
        load(folder)
        return path
    except DataError:
        pass  # missing or damaged: make it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"{name}.", suffix=".part") as scratch:
            base = (base_url or known.base_url).rstrip("/")
            files = known.downloads if checksums is None else checksums
            parts = [download(f"{base}/{file}", files[file], Path(scratch), progress) for file in sorted(files)]
            complete = Path(scratch, path.name)
            np.savez_compressed(complete, allow_pickle=False, **arrays(parts))
            os.replace(complete, path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({reason(error)}); choose a folder with --data-root") from None
    return path


#: Data sets that can be fetched: how each is read and checked, and how its arrays are made from the downloads.
MAKERS = {"omniglot": (load_omniglot, omniglot_arrays), "mnist": (load_mnist, mnist_arrays)}
