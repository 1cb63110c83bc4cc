"""Parts that the patterns of all languages share."""

from typing import Final

STOP: Final = r"(?=\s*(?:[:!。।]|\.(?:\s|\Z)|\s[-–—]\s|\((?:\d|cod)|\Z))"  # after a noun that means error
END: Final = r"[\s.!。।]*\Z"
CODE: Final = r"(?=\s*\d{3}\b(?! (?:es|est|ist|e|fue|fut|war) ))"
SHORT: Final = r"[^.!?:。।\n]{1,60}?"
