#!/usr/bin/env bash
# Runs a table with every training spread over a Ray cluster by LLaMA-Factory.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

usage() {
    cat <<EOF
Usage: run_table_ray.sh SCRIPT [options] [-- words for SCRIPT ...]

SCRIPT is run_citi_table.sh or run_tl_table.sh; run this on the head of a running cluster (ray start). Its rows run one
after the other, each on all workers. The workers need this repository, the data and --out at the same absolute paths, on
a shared disk. LLaMA-Factory plans one GPU or NPU and 10 CPUs for each device of the cluster: a cluster that lacks them is
refused here, as the training would wait for ever.

Options (or environment variables):
  --workers N          RAY_ROW_WORKERS   processes of a training, each with one device (default: 8)
  -h, --help
Example: run_table_ray.sh run_citi_table.sh --workers 8 -- --rows main --out /shared/table -- bf16=true
EOF
}

workers=${RAY_ROW_WORKERS:-8}

options=([--workers]=workers)
read_options "$@"
script=${named[0]:-}
for word in "${named[@]:1}"; do problem "\"$word\" is one word too many; words for the script come after --"; done

path=$here/${script##*/}
[[ -n $script && -f $path ]] || problem "\"$script\" is no script here; name run_citi_table.sh or run_tl_table.sh"
[[ $workers =~ ^[1-9][0-9]*$ ]] || problem "--workers is \"$workers\"; give a whole number"
need python llamafactory-cli
end_on_problems
head=$(python "$here/ray_head.py" "$workers") || exit 2

contains -- "${extra[@]}" || extra+=(--)
export USE_RAY=1
exec bash "$path" "${extra[@]}" "ray_num_workers=$workers" "master_addr=$head"
