"""`python evaluation/vllm_infer.py --model DIR ...` is `llamafactory-ext infer --model DIR ...`."""

import sys

from llamafactory_ext.cli import main

sys.argv.insert(1, "infer")
main()
