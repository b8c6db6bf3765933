"""A prompt made of parts: what to do, how the camera is to move, and where to be. Each
part is chosen by a word, for those who would rather not write.
"""

from __future__ import annotations

from typing import Any

BETWEEN = " | "

# In Chinese as well: adapters for camera moves know these words (model card of
# dx8152/Qwen-Edit-2509-Multiple-angles).
ANGLES = {
    "forward": "将镜头向前移动 Move the camera forward.",
    "left": "将镜头向左移动 Move the camera left.",
    "right": "将镜头向右移动 Move the camera right.",
    "up": "将镜头向上移动 Move the camera up.",
    "down": "将镜头向下移动 Move the camera down.",
    "turn-left": "将镜头向左旋转45度 Rotate the camera 45 degrees to the left.",
    "turn-right": "将镜头向右旋转45度 Rotate the camera 45 degrees to the right.",
    "top-down": "将镜头转为俯视 Turn the camera to a top-down view.",
    "wide": "将镜头转为广角镜头 Turn the camera to a wide-angle lens.",
    "close-up": "将镜头转为特写镜头 Turn the camera to a close-up.",
}
SCENES = {
    "white": "Replace the background with a seamless pure white studio backdrop.",
    "grey": "Replace the background with a soft grey studio backdrop, darker outwards.",
    "marble": "Place the subject on polished white marble, all behind out of focus.",
    "wood": "Place the subject on a warm oak table, all behind out of focus.",
    "concrete": "Place the subject before a plain wall of smooth concrete.",
    "living-room": "Place the subject in a bright, modern living room.",
    "kitchen": "Place the subject in a bright, modern kitchen.",
    "garden": "Place the subject in a green garden in soft daylight.",
    "beach": "Place the subject on a sandy beach by a calm sea.",
    "city": "Place the subject in a city street, all behind out of focus.",
}
PROPERTIES: dict[str, Any] = {
    "angle": {
        "enum": [*ANGLES],
        "description": "How the camera is to move; put behind the prompt.",
    },
    "scene": {
        "enum": [*SCENES],
        "description": "What is to be around the subject; put behind the prompt.",
    },
}


def composed(parameters: dict[str, Any], *, otherwise: str) -> str:
    """The prompt with what was chosen behind it; `otherwise` for who says nothing."""
    parts = [parameters.get("prompt", "")]
    parts += [
        phrases[parameters[name]]
        for name, phrases in (("angle", ANGLES), ("scene", SCENES))
        if name in parameters
    ]
    return BETWEEN.join(part for part in parts if part) or otherwise
