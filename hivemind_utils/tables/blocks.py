"""Tables that are kept on disk, one block of rows after another, until they are written: larger than memory holds."""

import shutil
import tempfile
import weakref
from pathlib import Path

from hivemind_utils.tables import files, schema


class Blocks:
    """A table in blocks of rows, each checked against the schema when it comes.

    They lie in a temporary folder (see `tempfile`), which goes when this object does.

    Parameters
    ----------
    name : str
        Which table, a key of `schema.TABLES`. That no two blocks hold the same key is for the caller to see to.

    Examples
    --------
    >>> import pandas as pd
    >>> table = Blocks("05_power")
    >>> for n in (10, 20):
    ...     table.append(pd.DataFrame({"n_prompts": [n], "n_responses": [50], "difference": [0.1]}))
    >>> len(table), table["n_prompts"].tolist()
    (2, [10, 20])
    """

    def __init__(self, name):
        self.name, self._sizes = name, []
        self._folder = Path(tempfile.mkdtemp(prefix="hivemind-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def append(self, frame):
        """Add a block.

        Raises
        ------
        ValueError
            If it does not fit the schema; see `schema.validate`.
        OSError
            If the temporary folder has no room; the message names it.
        """
        import pyarrow.feather as feather

        path = self._path(len(self._sizes))
        with files.room(path):
            feather.write_feather(schema.validate(frame.reset_index(drop=True), self.name), path, compression="zstd")
        self._sizes.append(len(frame))

    def arrow(self):
        """Yield the blocks as Arrow tables."""
        for k in range(len(self._sizes)):
            yield self._read(k)

    def __iter__(self):
        """Yield the blocks as frames."""
        return (block.to_pandas() for block in self.arrow())

    def __len__(self):
        """Return the number of rows."""
        return sum(self._sizes)

    def __getitem__(self, column):
        """Return a column of all rows."""
        parts = [self._read(k, [column]).to_pandas()[column] for k in range(len(self._sizes))]
        import pandas as pd

        return pd.concat(parts or [schema.empty(self.name)[column]], ignore_index=True)

    def head(self, n=5):
        """Return the first rows."""
        return next(iter(self), schema.empty(self.name)).head(n)

    def _path(self, k):
        return self._folder / f"{k}.arrow"

    def _read(self, k, columns=None):
        import pyarrow.feather as feather

        return feather.read_table(self._path(k), columns, memory_map=False)


def of(table):
    """Frames of a table, which is one frame or `Blocks`."""
    return table if isinstance(table, Blocks) else [table]
