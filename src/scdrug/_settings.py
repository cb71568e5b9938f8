"""Settings of the package: where data are cached, how progress is shown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Settings:
    """Package-wide settings, available as ``scdrug.settings``.

    Nothing here changes a result; randomness is always an argument of the function that needs it.
    """

    #: Rows of expression that are held densely at once by the chunked readers.
    chunk_size: int = 2048
    #: Show progress bars of downloads and long loops; of passes over cells on a terminal only.
    progress: bool = True
    _data_dir: Path | None = None

    @property
    def data_dir(self) -> Path:
        """Folder of fetched data sets (set here, else ``$SCDRUG_DATA_DIR``, else the user's cache folder)."""
        if self._data_dir is not None:
            return self._data_dir
        if os.environ.get("SCDRUG_DATA_DIR"):
            return Path(os.environ["SCDRUG_DATA_DIR"]).expanduser()
        import pooch

        return Path(pooch.os_cache("scdrug"))

    @data_dir.setter
    def data_dir(self, path: str | os.PathLike[str] | None) -> None:
        self._data_dir = None if path is None else Path(path).expanduser()


settings = Settings()
