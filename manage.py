#!/usr/bin/env python
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
    from nijika import commands

    sys.exit(commands.run(sys.argv))
