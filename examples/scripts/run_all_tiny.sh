#!/usr/bin/env bash
# Every method on the embedded tiny model, on a CPU: trains, exports, asks, measures. What a fresh installation can do.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

root=$(cd -- "$here/../.." && pwd)
trained=(citi lora full tl_sft tl_ppo)
all_steps=("${trained[@]}" export answers evaluate)

usage() {
    cat <<EOF
Usage: run_all_tiny.sh [options] [-- key=value ...]

Trains the embedded model by each method (examples/yaml/*_tiny.yaml), exports the CITI model, asks it questions, and
measures its abilities before and after. The same command goes on where it was interrupted. A step that fails does not
stop the others that do not need it; the exit status is 1 then.

Options (or environment variables):
  --model DIR        TINY_MODEL        base model (default: the embedded one)
  --dataset-dir DIR  TINY_DATASET_DIR  folder of dataset_info.json (default: data/ of this repository)
  --steps LIST       TINY_STEPS        steps, with commas (default: all)
  --max-steps N      TINY_MAX_STEPS    optimiser steps of each phase or run (default: as in the files, about 20 minutes)
  --limit N          TINY_LIMIT        questions asked, and items measured of each ability (default: 50)
  --out DIR          TINY_OUT          where everything goes (default: saves/all_tiny)
  -h, --help
Everything after -- goes to every training run and overrules its file.

Steps: ${all_steps[*]}
  export    the model of step citi, as a folder of its own
  answers   that model's answers to tool questions (llamafactory-ext infer --backend hf)
  evaluate  abilities of the base model and of step citi's (llamafactory-ext lab evaluate)

Results: DIR/STEP, DIR/logs/STEP.log, DIR/summary.txt.
EOF
}

model=${TINY_MODEL:-$root/src/llamafactory_ext/lab/model}
dataset_dir=${TINY_DATASET_DIR:-$root/data}
wanted=${TINY_STEPS:-$(IFS=, && echo "${all_steps[*]}")}
max_steps=${TINY_MAX_STEPS:-}
limit=${TINY_LIMIT:-50}
folder=${TINY_OUT:-saves/all_tiny}

options=(
    [--model]=model [--dataset-dir]=dataset_dir [--steps]=wanted [--max-steps]=max_steps
    [--limit]=limit [--out]=folder
)
read_options "$@"
no_words

IFS=, read -r -a steps <<<"$wanted"
for name in "${steps[@]}"; do
    contains "$name" "${all_steps[@]}" || problem "--steps: there is no step \"$name\"; the steps are ${all_steps[*]}"
done
[[ -z $max_steps || $max_steps =~ ^[1-9][0-9]*$ ]] || problem "--max-steps is \"$max_steps\"; give a whole number"
[[ $limit =~ ^[1-9][0-9]*$ ]] || problem "--limit is \"$limit\"; give a whole number"
[[ -f $model/config.json ]] || problem "--model: $model holds no model"
[[ -f $dataset_dir/dataset_info.json ]] || problem "--dataset-dir: $dataset_dir/dataset_info.json does not exist"
check_pairs "after --" "${extra[@]}"
need llamafactory-cli llamafactory-ext
end_on_problems
begin "$folder"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the model is tiny: threads get in each other's way

run_step() { # NAME
    local base=$model
    case $1 in
        export)
            [[ -f $out/citi/adapter_model.safetensors ]] || { skip export "it needs step citi" && return; }
            step export llamafactory-cli export --model_name_or_path "$model" --adapter_name_or_path "$out/citi" \
                --finetuning_type citi --template llama3 --export_dir "$out/export"
            ;;
        answers)
            [[ -f $out/export/config.json ]] || { skip answers "it needs step export" && return; }
            step answers llamafactory-ext infer --model "$out/export" --backend hf --max_new_tokens 64 \
                --dataset "$dataset_dir/lab_tool.json" --limit "$limit" --out "$out/answers.jsonl"
            ;;
        evaluate)
            step evaluate.base llamafactory-ext lab evaluate --model "$model" --limit "$limit" \
                --out "$out/evaluate.base.json" || true
            [[ -f $out/citi/adapter_model.safetensors ]] || { skip evaluate.citi "it needs step citi" && return; }
            step evaluate.citi llamafactory-ext lab evaluate --model "$model" --adapter "$out/citi" --limit "$limit" \
                --out "$out/evaluate.citi.json"
            ;;
        *)
            if [[ $1 == tl_ppo ]]; then
                base=$out/tl_sft
                [[ -f $base/config.json ]] || { skip tl_ppo "it starts from step tl_sft" && return; }
            fi
            step "$1" llamafactory-cli train "$root/examples/yaml/$1_tiny.yaml" "model_name_or_path=$base" \
                "dataset_dir=$dataset_dir" "output_dir=$out/$1" ${max_steps:+"max_steps=$max_steps"} "${extra[@]}"
            ;;
    esac
}
for name in "${steps[@]}"; do run_step "$name" || true; done

# shellcheck disable=SC2329 # finish calls it
result() { # STEP
    local measured
    case $1 in
        answers) [[ ! -f $out/answers.jsonl ]] || echo "$(wc -l <"$out/answers.jsonl") lines" ;;
        evaluate.*)
            measured=$(sed 's/^\([a-z_ ]*[a-z]\)  *\([0-9.]*%\).*/\1 \2/' "$out/logs/$1.log" 2>/dev/null |
                grep -E '^[a-z_ ]+ [0-9.]+%$' | paste -sd, || true)
            echo "${measured:--}"
            ;;
        *) [[ ! -d $out/$1 ]] || echo "$out/$1" ;;
    esac
}
finish result
