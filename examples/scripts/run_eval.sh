#!/usr/bin/env bash
# Asks models the benchmarks' questions, scores the answers, and puts the scores beside the papers' tables.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

all_benchmarks=(api_bank rotbench bfcl bfcl_ast gsm8k triviaqa)

usage() {
    cat <<EOF
Usage: run_eval.sh [options] [NAME=]MODEL ... [-- option=value ...]

For each model and benchmark: \`llamafactory-ext infer\`, then \`score\`; at the end one \`report\` of all. MODEL is the folder
of a model or of an exported CITI model, with --backend hf also an adapter; NAME stands in the tables (default: the last
part of MODEL). The same command goes on where it was interrupted, answers already given are kept. A step that fails
does not stop the others; the exit status is 1 then.

Options (or environment variables):
  --models LIST        EVAL_MODELS      [NAME=]MODEL, with commas; the same as naming them
  --benchmarks LIST    EVAL_BENCHMARKS  benchmarks, with commas (default: ${all_benchmarks[*]})
  --source DIR         EVAL_SOURCE      holds a folder of published files for each benchmark, by its name
                                        (bfcl and bfcl_ast: also one called bfcl_v3)
  --mode LIST          EVAL_MODE        official, strict, or both with a comma (default: both; official reads answers as the
                                        published evaluator does, which gives 0 for a call in another format)
  --backend NAME       EVAL_BACKEND     vllm, hf or openai (default: vllm)
  --score-only         EVAL_SCORE_ONLY=1  ask nothing; score answers that are there, made in another environment
  --infer-only         EVAL_INFER_ONLY=1  only ask
  --out DIR            EVAL_OUT         where everything goes (default: saves/eval)
  -h, --help
Everything after -- goes to every \`infer\`, or to that of one benchmark if its name stands before it, such as:
  -- limit=100 rotbench.template=llama3_toolalpaca api_bank.template=llama3_api_bank

Results: DIR/NAME/BENCHMARK.jsonl (answers), DIR/NAME/BENCHMARK.MODE.json (scores), DIR/report, DIR/logs, DIR/summary.txt.
EOF
}

listed=${EVAL_MODELS:-}
wanted=${EVAL_BENCHMARKS:-}
source=${EVAL_SOURCE:-}
mode=${EVAL_MODE:-official,strict}
backend=${EVAL_BACKEND:-vllm}
score_only=${EVAL_SCORE_ONLY:-}
infer_only=${EVAL_INFER_ONLY:-}
folder=${EVAL_OUT:-saves/eval}

options=(
    [--models]=listed [--benchmarks]=wanted [--source]=source [--mode]=mode [--backend]=backend
    [--out]=folder
)
flags=([--score-only]=score_only [--infer-only]=infer_only)
read_options "$@"

IFS=, read -r -a words <<<"$listed"
models=("${named[@]}" "${words[@]}")
IFS=, read -r -a benchmarks <<<"${wanted:-$(IFS=, && echo "${all_benchmarks[*]}")}"
IFS=, read -r -a modes <<<"$mode"

name_of() { # [NAME=]MODEL
    local path=${1%/}
    [[ $1 == ?*=* ]] && echo "${1%%=*}" || echo "${path##*/}"
}

source_of() { # BENCHMARK
    if [[ ! -d $source/$1 && $1 == bfcl* && -d $source/bfcl_v3 ]]; then
        echo "$source/bfcl_v3"
    else
        echo "$source/$1"
    fi
}

((${#models[@]})) || problem "name at least one model: [NAME=]MODEL"
seen=()
for model in "${models[@]}"; do
    name=$(name_of "$model")
    [[ $name =~ ^[A-Za-z0-9._-]+$ ]] || problem "\"$name\" cannot name files; write NAME=MODEL with a plain name"
    ! contains "$name" "${seen[@]}" || problem "two models are called \"$name\"; write NAME=MODEL"
    seen+=("$name")
done
if [[ -z $source ]]; then
    problem "--source is missing: the folder with the benchmarks' published files"
else
    for benchmark in "${benchmarks[@]}"; do
        [[ -e $(source_of "$benchmark") ]] || problem "--source: there is no $(source_of "$benchmark")"
    done
fi
for word in "${modes[@]}"; do
    contains "$word" official strict || problem "--mode \"$word\" is neither official nor strict"
done
contains "$backend" vllm hf openai || problem "--backend \"$backend\" is none of vllm, hf, openai"
[[ -z $score_only || -z $infer_only ]] || problem "--score-only and --infer-only exclude each other"
for pair in "${extra[@]}"; do
    key=${pair%%=*}
    if [[ $pair != ?*=* ]]; then
        problem "\"$pair\" after -- is not of the form option=value"
    elif [[ $key == *.* ]] && ! contains "${key%%.*}" "${benchmarks[@]}"; then
        problem "\"$pair\" after --: ${key%%.*} is not among the benchmarks ${benchmarks[*]}"
    elif contains "${key#*.}" model benchmark source out backend; then
        problem "${key#*.} is set by this script; see --help"
    fi
done
need llamafactory-ext
end_on_problems
begin "$folder"

declare -A files # step -> what it writes

ask() { # MODEL BENCHMARK
    local name answers pair key asked=()
    for pair in "${extra[@]}"; do
        key=${pair%%=*}
        [[ $key == *.* && ${key%%.*} != "$2" ]] || asked+=("--${key#*.}" "${pair#*=}")
    done
    name=$(name_of "$1")
    answers=$out/$name/$2.jsonl
    mkdir -p "$out/$name"
    files[$name.$2]=$answers
    step "$name.$2" llamafactory-ext infer --model "${1#"$name"=}" --benchmark "$2" --source "$(source_of "$2")" \
        --backend "$backend" --out "$answers" "${asked[@]}"
}

# Quick, and the answers may have grown: always done anew.
judge() { # NAME BENCHMARK MODE
    local key=$1.$2.$3 answers=$out/$1/$2.jsonl
    if [[ ! -f $answers ]]; then
        skip "$key" "there are no answers"
        return
    fi
    files[$key]=$out/$1/$2.$3.json
    rm -f "$out/logs/$key".{done,settings,log}
    step "$key" llamafactory-ext score "$2" --predictions "$answers" --references "$(source_of "$2")" --mode "$3" || true
}

reports=()
for model in "${models[@]}"; do
    name=$(name_of "$model")
    reports+=("$name=$out/$name")
    for benchmark in "${benchmarks[@]}"; do
        [[ -n $score_only ]] || ask "$model" "$benchmark" || true
        [[ -z $infer_only ]] || continue
        for word in "${modes[@]}"; do judge "$name" "$benchmark" "$word"; done
    done
done
if [[ -z $infer_only ]]; then
    files[report]=$out/report/report.md
    rm -f "$out/logs/report".{done,settings,log}
    step report llamafactory-ext report "${reports[@]}" --out "$out/report" || true
fi

# Up to three figures of a report of scores.
# shellcheck disable=SC2329 # result calls it
figures() { # FILE
    python3 -c '
import json, sys
print(", ".join("%s %.2f %%" % (f["name"], 100 * f["value"]) for f in json.load(open(sys.argv[1]))["figures"][:3]))
' "$1" 2>/dev/null || echo "$1"
}

# shellcheck disable=SC2329 # finish calls it
result() { # STEP
    local file=${files[$1]:-}
    case $file in
        *.jsonl) [[ ! -f $file ]] || echo "$(wc -l <"$file") lines in $file" ;;
        *.json) [[ ! -f $file ]] || figures "$file" ;;
        *) echo "$file" ;;
    esac
}
finish result
