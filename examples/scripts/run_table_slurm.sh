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
it was submitted. A row waits for the row that it goes on from, which is submitted with it, once: the rows of the CITI
table for row citi, whose importance file they share, those with IRM for the row without. The same command goes on where
it was interrupted, as SCRIPT does: a row that is done ends at once.

Options (or environment variables):
  --rows LIST      TABLE_ROWS       rows or groups of SCRIPT, with commas (see its --help)
  --gpus N         SLURM_ROW_GPUS   GPUs of a job (default: 1)
  --cpus N         SLURM_ROW_CPUS   CPUs of a job (default: 8 for each GPU)
  --memory M       SLURM_ROW_MEMORY memory of a job, such as 64G (default: the cluster's)
  --time T         SLURM_ROW_TIME   time limit of a job (default: 24:00:00)
  --partition P    SLURM_ROW_PARTITION
  --sbatch WORD                     any other option of sbatch, such as --account=a; may be given several times
  --setup FILE     SLURM_ROW_SETUP  sourced by every job first, such as a file that activates the environment
  --dry-run                         print the jobs, submit none
  -h, --help
Example: run_table_slurm.sh run_citi_table.sh --rows citi,lora,uco --gpus 4 -- --out saves/table -- bf16=true
EOF
}

rows=${TABLE_ROWS:-}
gpus=${SLURM_ROW_GPUS:-1}
cpus=${SLURM_ROW_CPUS:-}
memory=${SLURM_ROW_MEMORY:-}
limit=${SLURM_ROW_TIME:-24:00:00}
partition=${SLURM_ROW_PARTITION:-}
setup=${SLURM_ROW_SETUP:-}
further=()
dry=

options=(
    [--rows]=rows [--gpus]=gpus [--cpus]=cpus [--memory]=memory [--time]=limit [--partition]=partition
    [--sbatch]=further+ [--setup]=setup
)
flags=([--dry-run]=dry)
read_options "$@"
script=${named[0]:-}
for word in "${named[@]:1}"; do problem "\"$word\" is one word too many; words for the script come after --"; done

path=$here/${script##*/}
[[ -n $script && -f $path ]] || problem "\"$script\" is no script here; name run_citi_table.sh or run_tl_table.sh"
[[ -n $rows ]] || problem "--rows is missing: the rows to submit"
[[ $gpus =~ ^[0-9]+$ ]] || problem "--gpus is \"$gpus\"; give a whole number"
[[ -z $cpus || $cpus =~ ^[1-9][0-9]*$ ]] || problem "--cpus is \"$cpus\"; give a whole number"
for word in "${further[@]}"; do
    [[ $word == -* ]] || problem "--sbatch is \"$word\"; give one option of sbatch, such as --sbatch --account=a"
done
[[ -z $setup || -f $setup ]] || problem "--setup: $setup does not exist"
contains --rows "${extra[@]}" && problem "--rows stands before --; each job gets one of them"
[[ -n $dry ]] || command -v sbatch >/dev/null || problem "sbatch is not found; run this where Slurm is, or use --dry-run"
end_on_problems
cpus=${cpus:-$((gpus ? gpus * 8 : 8))}
# Each row with the one that it waits for, which stands before it.
planned=$(bash "$path" --plan --rows "$rows" "${extra[@]}") || exit 2
mapfile -t plan <<<"$planned"

# Prints the id of the job.
submit() { # NAME GPUS DEPENDENCY ROWS
    local job=(sbatch --parsable "--job-name=$1" "--time=$limit" --nodes=1 --ntasks=1 "--cpus-per-task=$cpus")
    (($2 == 0)) || job+=("--gpus=$2")
    [[ -z $partition ]] || job+=("--partition=$partition")
    [[ -z $memory ]] || job+=("--mem=$memory")
    [[ -z $3 ]] || job+=("--dependency=$3")
    job+=("${further[@]}")
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

declare -A job_of
ids=()
for line in "${plan[@]}"; do
    read -r name needs <<<"$line"
    job_of[$name]=$(submit "$name" "$gpus" "${needs:+afterany:${job_of[$needs]}}" "$name")
    ids+=("${job_of[$name]}")
done
# Rows that failed are tried once more here, and the exit status tells whether all are done.
last=$(submit summary "$gpus" "afterany:$(IFS=: && echo "${ids[*]}")" "$rows")
echo "Submitted ${#ids[@]} rows; job $last writes the summary."
