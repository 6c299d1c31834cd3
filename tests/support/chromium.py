"""The Chromium that the tests of the UI run in: the system's. Playwright's own, a download, is never used."""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium")
MISSING = "there is no `chromium` on the PATH (on Debian: apt-get install chromium)"
