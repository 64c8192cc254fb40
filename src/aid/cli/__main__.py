"""`python -m aid.cli` is `aid`."""

from aid.cli import main

raise SystemExit(main())
