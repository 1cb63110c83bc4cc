#!/usr/bin/env bash
# What only a GPU shows, in at most 8 minutes of one: rows 1, 3, 4, 5, 7 and 9 at the shape of Llama-3-8B (Triton kernels
# beside torch in row 1), tokens per second against LoRA with both kinds of attention, and the importance of 3,000 examples.
# Needs torch, transformers, peft and this package; no LLaMA-Factory, no network, no data.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: benchmarks/gpu.sh [--device cuda|cpu] [--shape llama3-8b|toy|small|wide] [--minutes 8] [--rounds 8] [--out FILE]

Measures row by row, the most telling first, and writes after each what was measured to FILE
(benchmarks/results/gpu.json). Time ends the row that it finds.
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
device=cuda shape=llama3-8b minutes=8 rounds=8 out=$here/results/gpu.json
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --device | --shape | --minutes | --rounds | --out)
      [ $# -gt 1 ] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" '%s' "$2"; shift 2 ;;
    *) echo "gpu.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
[[ $minutes =~ ^[0-9]+$ && $minutes -gt 0 ]] || { echo "gpu.sh: --minutes $minutes is no whole number above 0" >&2; exit 2; }
[[ $rounds =~ ^[0-9]+$ && $rounds -gt 0 ]] || { echo "gpu.sh: --rounds $rounds is no whole number above 0" >&2; exit 2; }
out=$(realpath -m "$out")

cd "$here"
# `timeout` ends a row that takes too long; what was measured before it is in the file.
timeout "$((60 * minutes))" "${PYTHON:-python}" run.py --device "$device" --shape "$shape" --rounds "$rounds" \
  --rows 1,speed,3,importance,5,4,9,7 --out "$out" || {
  code=$?
  [ "$code" -eq 124 ] || exit "$code"
  echo "The $minutes minutes are over; $out has the rows that were finished."
}
