#!/usr/bin/env bash
# Trains every row of the tables in the CITI paper (arXiv:2409.13202) for one base model, one run after the other.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

root=$(cd -- "$here/../.." && pwd)
yamls=$root/examples/yaml

main_rows=(citi ft lora)
ablation_rows=(ft_dm lora_dm uco rp_mi without_rp without_molora without_router_loss)
component_rows=(lora_top lora_bottom lora_random full_top full_bottom full_random)
all_rows=("${main_rows[@]}" "${ablation_rows[@]}" "${component_rows[@]}")

usage() {
    cat <<EOF
Usage: run_citi_table.sh [options] [-- key=value ...]

Trains the rows of a table, each by \`llamafactory-cli train\` with a file under examples/yaml/. The same command goes on
where it was interrupted: finished rows are skipped, an interrupted row resumes. A row that fails does not stop the
others; the exit status is 1 then.

Options (or environment variables):
  --model NAME         CITI_MODEL         base model (default: the one in the files, Llama-3-8B-Instruct)
  --template NAME      CITI_TEMPLATE      its chat template (default: the one in the files, llama3_api_bank)
  --tool-data NAMES    CITI_TOOL_DATA     tool data sets (default: api_bank)
  --general-data NAMES CITI_GENERAL_DATA  data sets mixed in, except for ft and lora
                                          (default: code_alpaca,metamath,triviaqa,alpaca_gpt4)
  --dataset-dir DIR    CITI_DATASET_DIR   folder of dataset_info.json (default: data/ of this repository)
  --eval-data NAMES    CITI_EVAL_DATA     held-out data sets with marks; each row's loss on them is in the summary
  --importance FILE    CITI_IMPORTANCE    importance file for all rows (default: computed by row citi, or else by each)
  --rows LIST          CITI_ROWS          rows or groups, with commas, run in this order (default: main,ablations)
  --out DIR            CITI_OUT           where everything goes (default: saves/citi_table)
  --plan                                  print the rows, each with the one that must be done before, and run none
  -h, --help
Everything after -- goes to every run and overrules its file, such as: -- bf16=false per_device_train_batch_size=2

Groups: all, and
  main        ${main_rows[*]}
  ablations   ${ablation_rows[*]}
  components  ${component_rows[*]}

Results: DIR/ROW (the run), DIR/logs/ROW.log, DIR/summary.txt.
EOF
}

model=${CITI_MODEL:-}
template=${CITI_TEMPLATE:-}
tool_data=${CITI_TOOL_DATA:-api_bank}
general_data=${CITI_GENERAL_DATA:-code_alpaca,metamath,triviaqa,alpaca_gpt4}
dataset_dir=${CITI_DATASET_DIR:-$root/data}
eval_data=${CITI_EVAL_DATA:-}
importance=${CITI_IMPORTANCE:-}
wanted=${CITI_ROWS:-main,ablations}
folder=${CITI_OUT:-saves/citi_table}
plan=

options=(
    [--model]=model [--template]=template [--tool-data]=tool_data [--general-data]=general_data
    [--dataset-dir]=dataset_dir [--eval-data]=eval_data [--importance]=importance [--rows]=wanted
    [--out]=folder
)
flags=([--plan]=plan)
read_options "$@"
no_words

rows=()
add_rows() { # ROWS...
    local row
    for row in "$@"; do
        if ! contains "$row" "${all_rows[@]}"; then
            problem "--rows: there is no row \"$row\"; the rows are ${all_rows[*]}"
        elif ! contains "$row" "${rows[@]}"; then
            rows+=("$row")
        fi
    done
}
IFS=, read -r -a words <<<"$wanted"
for word in "${words[@]}"; do
    case $word in
        main) add_rows "${main_rows[@]}" ;;
        ablations) add_rows "${ablation_rows[@]}" ;;
        components) add_rows "${component_rows[@]}" ;;
        all) add_rows "${all_rows[@]}" ;;
        *) add_rows "$word" ;;
    esac
done
if [[ -n $plan ]]; then
    end_on_problems
    first=
    if contains citi "${rows[@]}"; then # the others share its importance file
        first=citi
        echo citi
    fi
    for row in "${rows[@]}"; do [[ $row == citi ]] || echo "$row $first"; done
    exit
fi
check_pairs "after --" "${extra[@]}"
check_data "$dataset_dir" "$tool_data,$general_data${eval_data:+,$eval_data}"
[[ -z $importance || -f $importance ]] || problem "--importance: $importance does not exist"
need llamafactory-cli
end_on_problems
begin "$folder"

# The importance file of a row of citi: as chosen when the row began, given, from row citi, or none yet.
importance_of() { # ROW
    local settings=$out/logs/$1.settings
    if [[ -f $settings ]]; then
        sed -n 's/^citi_importance_load=//p' "$settings"
    elif [[ -n $importance ]]; then
        echo "$importance"
    elif [[ $1 != citi && -f $out/citi/importance.json ]]; then
        echo "$out/citi/importance.json"
    fi
}

# The words of a row's command after `llamafactory-cli`, one a line.
settings_of() { # ROW
    local row=$1 file=$yamls/ablations/llama3/$1.yaml data=$tool_data,$general_data load
    case $row in
        citi) file=$yamls/citi_llama3.yaml ;;
        ft | lora) data=$tool_data ;;
    esac
    printf '%s\n' train "$file" "dataset=$data" "dataset_dir=$dataset_dir" "output_dir=$out/$row"
    [[ -z $model ]] || echo "model_name_or_path=$model"
    [[ -z $template ]] || echo "template=$template"
    [[ -z $eval_data ]] || printf '%s\n' "eval_dataset=$eval_data" do_eval=true
    if ! contains "$row" ft lora ft_dm lora_dm; then
        load=$(importance_of "$row")
        [[ -z $load ]] || echo "citi_importance_load=$load"
    fi
    ((${#extra[@]} == 0)) || printf '%s\n' "${extra[@]}"
}

for row in "${rows[@]}"; do
    mapfile -t words < <(settings_of "$row")
    step "$row" llamafactory-cli "${words[@]}" || true
done

# Mean training loss, of each phase of a citi run; and the loss on held-out data.
# shellcheck disable=SC2329 # finish calls it
losses() { # ROW
    local run=$out/$1 phase text=
    for phase in "$run"/phase-*/; do
        [[ -d $phase ]] || continue
        phase=${phase%/}
        text+="${text:+ }${phase##*-} $(figure "$phase/train_results.json" train_loss)"
    done
    [[ -n $text ]] || text=$(figure "$run/train_results.json" train_loss)
    printf '%-36s  %s\n' "$text" "$(figure "$run/eval_results.json" eval_loss)"
}
finish losses "$(printf '%-36s  %s' "training loss" "evaluation loss")"
