"""Copies of files at an address such as ``s3://bucket/folder``, from which workers on other machines read.

Addresses are those of fsspec; the package of a protocol (``s3fs`` for ``s3://``) must be installed on all machines.
"""

import functools
from pathlib import Path

from hivemind_utils.tables import files as table_files


def put(path, address):
    """Copy a file to an address, unless this state of it is there already.

    Parameters
    ----------
    path : pathlib.Path
    address : str
        Of a folder.

    Returns
    -------
    str
        Address of the copy. Its name says which state of the file it is: a file written anew gets another copy, and
        what workers are reading never changes. Older copies stay until somebody removes them.

    Raises
    ------
    OSError
        If the address cannot be written; nothing half-written stands under the copy's name.
    """
    known = path.stat()
    return _put(path, address.rstrip("/"), known.st_mtime_ns, known.st_size)


@functools.lru_cache(maxsize=64)
def _put(path, address, mtime_ns, size):
    target = f"{address}/{path.stem}.{mtime_ns:x}-{size:x}{path.suffix}"
    try:
        files, place = _file_system(target)
        if not (files.exists(place) and files.size(place) == size):
            files.makedirs(place.rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), f"{place}.part")
            files.mv(f"{place}.part", place)
    except (OSError, ValueError) as error:
        raise OSError(
            f"{path.name} cannot be copied to {address} ({type(error).__name__}: {error}). Nothing half-written is "
            "read. Check `files` under `scheduler`, and that you may write there."
        ) from error
    return target


def opened(path):
    """Open a file of this machine, or at an address, for reading bytes at any place.

    Raises
    ------
    FileNotFoundError, OSError
        If it is not there, or cannot be reached.
    """
    if not table_files.is_address(path):
        return Path(path).open("rb", buffering=0)
    files, place = _file_system(path)
    try:
        return files.open(place, "rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"The copy {path} is gone. Run again: it is made anew.") from None


def _file_system(address):
    """File system of an address, and the place in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise OSError(f"{address} cannot be reached: {error}") from error
