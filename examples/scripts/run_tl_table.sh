#!/usr/bin/env bash
# Trains every row of the ablation table in the TL-Training paper (arXiv:2412.15495, Table 5), one run after the other.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

root=$(cd -- "$here/../.." && pwd)
yamls=$root/examples/yaml/tl/ablations

sft_rows=(none mae pkt mae_pkt)
irm_rows=(irm mae_irm pkt_irm all)
declare -A base=([irm]=none [mae_irm]=mae [pkt_irm]=pkt [all]=mae_pkt)

usage() {
    cat <<EOF
Usage: run_tl_table.sh [options] [-- key=value ...]

Trains the rows of the table, each by \`llamafactory-cli train\` with a file under examples/yaml/tl/ablations/. The same
command goes on where it was interrupted: finished rows are skipped, an interrupted row resumes. A row that fails does
not stop the others; the exit status is 1 then.

Options (or environment variables):
  --model NAME       TL_MODEL        base model (default: the one in the files, CodeLlama-7b-hf)
  --template NAME    TL_TEMPLATE     its template (default: the one in the files, tl_codellama2)
  --data NAMES       TL_DATA         trajectories (default: tl_training)
  --dataset-dir DIR  TL_DATASET_DIR  folder of dataset_info.json (default: data/ of this repository)
  --eval-data NAMES  TL_EVAL_DATA    held-out data sets; the loss of the first stage's rows on them is in the summary
  --rows LIST        TL_ROWS         rows or groups, with commas, run in this order (default: sft,ppo)
  --out DIR          TL_OUT          where everything goes (default: saves/tl_table)
  --sft KEY=VALUE                    for the rows of the first stage only; may be given several times
  --ppo KEY=VALUE                    for the rows of the second stage only; may be given several times
  --plan                             print the rows, each with the one that must be done before, and run none
  -h, --help
Everything after -- goes to every run and overrules its file, such as: -- bf16=false use_cpu=true

Groups
  sft  ${sft_rows[*]}                 (stage tl_sft)
  ppo  ${irm_rows[*]}       (stage tl_ppo, each from the model of the row without IRM, which runs first)

Results: DIR/ROW (the run), DIR/logs/ROW.log, DIR/summary.txt.
EOF
}

model=${TL_MODEL:-}
template=${TL_TEMPLATE:-}
data=${TL_DATA:-tl_training}
dataset_dir=${TL_DATASET_DIR:-$root/data}
eval_data=${TL_EVAL_DATA:-}
wanted=${TL_ROWS:-sft,ppo}
folder=${TL_OUT:-saves/tl_table}
plan=
sft_extra=() ppo_extra=()

options=(
    [--model]=model [--template]=template [--data]=data [--dataset-dir]=dataset_dir
    [--eval-data]=eval_data [--rows]=wanted [--out]=folder [--sft]=sft_extra+ [--ppo]=ppo_extra+
)
flags=([--plan]=plan)
read_options "$@"
no_words

rows=()
add_rows() { # ROWS...
    local row
    for row in "$@"; do
        if ! contains "$row" "${sft_rows[@]}" "${irm_rows[@]}"; then
            problem "--rows: there is no row \"$row\"; the rows are ${sft_rows[*]} ${irm_rows[*]}"
            continue
        fi
        [[ -z ${base[$row]:-} ]] || add_rows "${base[$row]}"
        contains "$row" "${rows[@]}" || rows+=("$row")
    done
}
IFS=, read -r -a words <<<"$wanted"
for word in "${words[@]}"; do
    case $word in
        sft) add_rows "${sft_rows[@]}" ;;
        ppo) add_rows "${irm_rows[@]}" ;;
        *) add_rows "$word" ;;
    esac
done
if [[ -n $plan ]]; then
    end_on_problems
    for row in "${rows[@]}"; do echo "$row ${base[$row]:-}"; done
    exit
fi
check_pairs "after --" "${extra[@]}"
check_pairs "after --sft" "${sft_extra[@]}"
check_pairs "after --ppo" "${ppo_extra[@]}"
check_data "$dataset_dir" "$data${eval_data:+,$eval_data}"
need llamafactory-cli
end_on_problems
begin "$folder"

# The words of a row's command after `llamafactory-cli`, one a line.
settings_of() { # ROW
    local row=$1 from=${base[$1]:-}
    printf '%s\n' train "$yamls/$row.yaml" "dataset=$data" "dataset_dir=$dataset_dir" "output_dir=$out/$row"
    [[ -z $template ]] || echo "template=$template"
    if [[ -n $from ]]; then
        echo "model_name_or_path=$out/$from"
    else
        [[ -z $model ]] || echo "model_name_or_path=$model"
        [[ -z $eval_data ]] || printf '%s\n' "eval_dataset=$eval_data" do_eval=true
    fi
    ((${#extra[@]} == 0)) || printf '%s\n' "${extra[@]}"
    if [[ -n $from ]]; then
        ((${#ppo_extra[@]} == 0)) || printf '%s\n' "${ppo_extra[@]}"
    else
        ((${#sft_extra[@]} == 0)) || printf '%s\n' "${sft_extra[@]}"
    fi
}

for row in "${rows[@]}"; do
    from=${base[$row]:-}
    if [[ -n $from && ! -f $out/logs/$from.done ]]; then
        skip "$row" "it goes on from row $from, which is not done"
        continue
    fi
    mapfile -t words < <(settings_of "$row")
    step "$row" llamafactory-cli "${words[@]}" || true
done

# shellcheck disable=SC2329 # finish calls it
figures() { # ROW
    printf '%13s  %15s  %12s\n' "$(figure "$out/$1/train_results.json" train_loss)" \
        "$(figure "$out/$1/eval_results.json" eval_loss)" "$(figure "$out/$1/trainer_state.json" reward)"
}
finish figures "$(printf '%13s  %15s  %12s' "training loss" "evaluation loss" "last reward")"
