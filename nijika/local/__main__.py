"""`python -m nijika.local run` keeps the stack up; `… demo` shows one job and stops."""

import os
import signal
import sys
import time
from types import FrameType

from nijika.local import demo
from nijika.local.servers import ServerFailed, free_port
from nijika.local.stack import STOP, Stack, StackFailed, Stopped

USUAL_PORT = 8000


def main(command: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        return {"run": run, "demo": demo.main}[command]()
    except (StackFailed, ServerFailed) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except Stopped:
        print("\nstopped.")
        return 0


def run() -> int:
    print("Starting nijika …", flush=True)
    with Stack(port=_port(), development_sign_in=True) as stack:
        _print_welcome(stack)
        while True:
            stack.check()
            time.sleep(0.1)


def _print_welcome(stack: Stack) -> None:
    print(
        f"""
nijika runs at {stack.url} (Ctrl-C stops it)

  pages  {stack.url}/sign-in{_who(stack)}
  key    {stack.key}
  docs   {stack.url}/api/v1/docs
{_data(stack)}
  curl -s {stack.url}/api/v1/jobs -H 'Authorization: Bearer {stack.key}' \\
       -F operation=removebg -F image=@{demo.PHOTO.relative_to(demo.ROOT)}
""",
        flush=True,
    )


def _who(stack: Stack) -> str:
    return "  (choose who you are there)" if stack.provider else ""


def _data(stack: Stack) -> str:
    """Root's database has another uid, which cannot enter every checkout."""
    return f"  data   {stack.elsewhere} (PostgreSQL's)\n" if stack.elsewhere else ""


def _port() -> int | None:
    if os.environ.get("NIJIKA_PORT"):
        return int(os.environ["NIJIKA_PORT"])
    return USUAL_PORT if free_port(USUAL_PORT) == USUAL_PORT else None


def _stop(number: int, frame: FrameType | None) -> None:
    STOP.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
