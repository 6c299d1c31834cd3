"""The system's Chromium, in which the UI tests run. They never use Playwright's own, which is a download."""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium")
MISSING = "there is no `chromium` on the PATH (on Debian: apt-get install chromium)"
