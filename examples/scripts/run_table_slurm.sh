#!/usr/bin/env bash
# Submits the rows of a table to Slurm: one job per row, then one that writes the summary of all.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

usage() {
    cat <<EOF
Usage: run_table_slurm.sh SCRIPT --rows LIST [options] [-- words for SCRIPT ...]

SCRIPT is run_citi_table.sh or run_tl_table.sh; each job runs it with one row and the same words, in the folder from which
it was submitted. The rows of the CITI table wait for row citi, whose importance file they share. The same command goes
on where it was interrupted, as SCRIPT does: a row that is done ends at once.

Options (or environment variables):
  --rows LIST      TABLE_ROWS       rows of SCRIPT, with commas (see its --help)
  --gpus N         SLURM_ROW_GPUS   GPUs of a job (default: 1)
  --time T         SLURM_ROW_TIME   time limit of a job (default: 24:00:00)
  --partition P    SLURM_ROW_PARTITION
  --setup FILE     SLURM_ROW_SETUP  sourced by every job first, such as a file that activates the environment
  --dry-run                         print the jobs, submit none
  -h, --help
Example: run_table_slurm.sh run_citi_table.sh --rows citi,lora,uco --gpus 4 -- --out saves/table -- bf16=true
EOF
}

rows=${TABLE_ROWS:-}
gpus=${SLURM_ROW_GPUS:-1}
limit=${SLURM_ROW_TIME:-24:00:00}
partition=${SLURM_ROW_PARTITION:-}
setup=${SLURM_ROW_SETUP:-}
dry=

options=(
    [--rows]=rows [--gpus]=gpus [--time]=limit [--partition]=partition [--setup]=setup
)
flags=([--dry-run]=dry)
read_options "$@"
script=${named[0]:-}
for word in "${named[@]:1}"; do problem "\"$word\" is one word too many; words for the script come after --"; done

path=$here/${script##*/}
[[ -n $script && -f $path ]] || problem "\"$script\" is no script here; name run_citi_table.sh or run_tl_table.sh"
[[ -n $rows ]] || problem "--rows is missing: the rows to submit"
[[ $gpus =~ ^[0-9]+$ ]] || problem "--gpus is \"$gpus\"; give a whole number"
[[ -z $setup || -f $setup ]] || problem "--setup: $setup does not exist"
contains --rows "${extra[@]}" && problem "--rows stands before --; each job gets one of them"
[[ -n $dry ]] || command -v sbatch >/dev/null || problem "sbatch is not found; run this where Slurm is, or use --dry-run"
end_on_problems
IFS=, read -r -a names <<<"$rows"

# Prints the id of the job.
submit() { # NAME GPUS DEPENDENCY ROWS
    local job=(sbatch --parsable "--job-name=$1" "--time=$limit" --nodes=1 --ntasks=1)
    (($2 == 0)) || job+=("--gpus=$2")
    [[ -z $partition ]] || job+=("--partition=$partition")
    [[ -z $3 ]] || job+=("--dependency=$3")
    local command
    printf -v command '%q ' "$path" --rows "$4" "${extra[@]}"
    [[ -z $setup ]] || printf -v command 'source %q && %s' "$setup" "$command"
    job+=(--wrap "bash -c $(printf '%q' "$command")")
    if [[ -n $dry ]]; then
        printf '%q ' "${job[@]}" >&2
        echo >&2
        echo "$1"
    else
        "${job[@]}"
    fi
}

first=
ids=()
if [[ $script == *citi* ]] && contains citi "${names[@]}"; then
    first=$(submit citi "$gpus" "" citi)
    ids+=("$first")
fi
for name in "${names[@]}"; do
    [[ -n $first && $name == citi ]] || ids+=("$(submit "$name" "$gpus" "${first:+afterany:$first}" "$name")")
done
# Rows that failed are tried once more here, and the exit status tells whether all are done.
last=$(submit summary "$gpus" "afterany:$(IFS=: && echo "${ids[*]}")" "$rows")
echo "Submitted ${#ids[@]} rows; job $last writes the summary."
