import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READERS = [
    ROOT / "nijika/settings.py",
    ROOT / "nijika/web.py",
    ROOT / "gpu_worker/settings.py",
    ROOT / "gpu_worker/sealing.py",
    *(ROOT / "gpu_worker/engines").rglob("*.py"),
]
OF_COMPOSE = {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}


def test_env_example_lists_what_the_programs_read_and_nothing_else() -> None:
    ours = "NIJIKA_|DATABASE_|REDIS_"
    providers = "GOOGLE_|GEMINI_|FAL_|OPENAI_|STABILITY_"
    name = rf'"((?:{ours}|{providers})[A-Z0-9_]+)"'
    read = {n for path in READERS for n in re.findall(name, path.read_text())}
    example = (ROOT / ".env.example").read_text()
    listed = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", example, re.M))
    assert listed - OF_COMPOSE == read
