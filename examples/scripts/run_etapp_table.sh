#!/usr/bin/env bash
# Lets served models act in ETAPP in every setting and strategy, checks what they did, and puts them side by side.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/scripts/steps.sh
source "$here/steps.sh"

usage() {
    cat <<EOF
Usage: run_etapp_table.sh [options] [NAME=]MODEL[@URL] ... [-- option=value ...]

For each model, setting and strategy: \`llamafactory-ext etapp run\`, then \`check\`, with --judge also \`judge\`; at the end one
\`report\` of each setting and strategy. MODEL is its name on an OpenAI-compatible server, URL that server's (default:
--url); the rows of the paper's kind are a base model and those that examples/yaml/etapp/ trains: etapp_lora, etapp_citi,
etapp_tl_sft. The same command goes on where it was interrupted. A step that fails does not stop the others; the exit
status is 1 then.

Options (or environment variables):
  --models LIST      ETAPP_MODELS      [NAME=]MODEL[@URL], with commas; the same as naming them
  --url URL          ETAPP_URL         the server's address, up to and with /v1 (default: http://127.0.0.1:8000/v1)
  --source DIR       ETAPP_DATA        mini, mini-one-tool, or your clone of the published data (default: mini)
  --settings LIST    ETAPP_SETTINGS    given, retrieval, or both with a comma (default: both)
  --strategies LIST  ETAPP_STRATEGIES  fc, react, e-react, with commas (default: fc,react,e-react)
  --cases WHICH      ETAPP_CASES       all, reasoning, or a file of ids (default: all)
  --trials K         ETAPP_TRIALS      how often each case is run (default: 1)
  --judge            ETAPP_JUDGE=1     also ask the judge that LLAMAFACTORY_EXT_JUDGE_URL and _MODEL name
  --out DIR          ETAPP_OUT         where everything goes (default: saves/etapp_table)
  -h, --help
Everything after -- goes to every \`etapp run\`, such as: -- turns=10 temperature=0.7

Results: DIR/NAME.SETTING.STRATEGY.jsonl and its .check.json, DIR/report.SETTING.STRATEGY/, DIR/logs, DIR/summary.txt.
EOF
}

listed=${ETAPP_MODELS:-}
url=${ETAPP_URL:-http://127.0.0.1:8000/v1}
source=${ETAPP_DATA:-mini}
settings=${ETAPP_SETTINGS:-given,retrieval}
strategies=${ETAPP_STRATEGIES:-fc,react,e-react}
cases=${ETAPP_CASES:-all}
trials=${ETAPP_TRIALS:-1}
judge=${ETAPP_JUDGE:-}
folder=${ETAPP_OUT:-saves/etapp_table}

options=(
    [--models]=listed [--url]=url [--source]=source [--settings]=settings [--strategies]=strategies
    [--cases]=cases [--trials]=trials [--out]=folder
)
flags=([--judge]=judge)
read_options "$@"

IFS=, read -r -a words <<<"$listed"
models=("${named[@]}" "${words[@]}")
IFS=, read -r -a all_settings <<<"$settings"
IFS=, read -r -a all_strategies <<<"$strategies"

name_of() { # [NAME=]MODEL[@URL]
    local model=${1%%@*}
    [[ $model == ?*=* ]] && echo "${model%%=*}" || echo "${model##*/}"
}

((${#models[@]})) || problem "name at least one model: [NAME=]MODEL[@URL]"
seen=()
for model in "${models[@]}"; do
    name=$(name_of "$model")
    [[ $name =~ ^[A-Za-z0-9_-]+$ ]] || problem "\"$name\" cannot name files; write NAME=MODEL with a plain name"
    ! contains "$name" "${seen[@]}" || problem "two models are called \"$name\"; write NAME=MODEL"
    seen+=("$name")
done
[[ $source == mini || $source == mini-one-tool || -d $source ]] || problem "--source: there is no folder $source"
for word in "${all_settings[@]}"; do
    contains "$word" given retrieval || problem "--settings \"$word\" is neither given nor retrieval"
done
for word in "${all_strategies[@]}"; do
    contains "$word" fc react e-react || problem "--strategies \"$word\" is none of fc, react, e-react"
done
[[ $trials =~ ^[1-9][0-9]*$ ]] || problem "--trials \"$trials\" is no whole number from 1"
[[ -z $judge || -n ${LLAMAFACTORY_EXT_JUDGE_URL:-} ]] || problem "--judge needs LLAMAFACTORY_EXT_JUDGE_URL and _MODEL"
for pair in "${extra[@]}"; do
    [[ $pair == ?*=* ]] || problem "\"$pair\" after -- is not of the form option=value"
    if contains "${pair%%=*}" model url source setting strategy cases trials out; then
        problem "${pair%%=*} is set by this script; see --help"
    fi
done
need llamafactory-ext
end_on_problems
begin "$folder"

more=()
for pair in "${extra[@]}"; do more+=("--${pair%%=*}" "${pair#*=}"); done

# Quick, or kept in a log of its own: always done anew.
again() { # NAME COMMAND...
    rm -f "$out/logs/$1".{done,settings,log}
    step "$@" || true
}

for setting in "${all_settings[@]}"; do
    for strategy in "${all_strategies[@]}"; do
        runs=()
        for model in "${models[@]}"; do
            name=$(name_of "$model")
            key=$name.$setting.$strategy
            file=$out/$key.jsonl
            there=$url
            [[ $model != *@* ]] || there=${model#*@}
            served=${model%%@*}
            step "$key" llamafactory-ext etapp run --model "${served#"$name"=}" --url "$there" --source "$source" \
                --setting "$setting" --strategy "$strategy" --cases "$cases" --trials "$trials" --out "$file" \
                "${more[@]}" || true
            if [[ ! -f $file ]]; then
                skip "$key.check" "there are no episodes"
                continue
            fi
            runs+=("$name=$file")
            again "$key.check" llamafactory-ext etapp check --predictions "$file" --source "$source"
            [[ -z $judge ]] || again "$key.judge" llamafactory-ext etapp judge --predictions "$file" --source "$source"
        done
        ((${#runs[@]})) || continue
        again "report.$setting.$strategy" llamafactory-ext etapp report "${runs[@]}" --source "$source" \
            --out "$out/report.$setting.$strategy"
    done
done

# shellcheck disable=SC2329 # finish calls it
result() { # STEP
    local file=$out/$1.json
    [[ ! -f $file ]] || python3 -c '
import json, sys
print(", ".join("%s %.1f %%" % (f["name"], 100 * f["value"]) for f in json.load(open(sys.argv[1]))["figures"][:4]))
' "$file" 2>/dev/null || echo "$file"
}
finish result
