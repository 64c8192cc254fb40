"""Data sets of the Hugging Face hub, fetched into its own cache. Called by `data.sources`."""

import re
from pathlib import Path

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def fetch(name: str) -> Path:
    """The folder of the data set "owner/name", fetched if it is not in the cache.

    Raises:
        ValueError: there is no such data set, or no connection to ask for it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except RepositoryNotFoundError:
        raise ValueError(
            f"{name!r} is no folder, and no data set on the Hugging Face hub that you may read."
        ) from None
    except HFValidationError:
        raise ValueError(f"{name!r} is neither a folder nor a name on the hub.") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        kind = "answers with an error" if isinstance(error, HfHubHTTPError) else "cannot be reached"
        raise ValueError(
            f"{name!r} is no folder, and the Hugging Face hub {kind}. Give a folder, or try again "
            "with a connection."
        ) from None
