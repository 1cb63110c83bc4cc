"""`python evaluation/vllm_infer.py --model DIR ...` is `llamafactory-ext infer --model DIR ...`."""

import sys

from llamafactory_ext.cli import main

if __name__ == "__main__":  # vLLM's processes import this file again
    sys.argv.insert(1, "infer")
    main()
