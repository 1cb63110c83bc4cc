#!/usr/bin/env bash
# Trains every row of the ablation table in the TL-Training paper (arXiv:2412.15495, Table 5), one run after the other.
set -euo pipefail
if ((BASH_VERSINFO[0] < 5)); then
    echo "run_tl_table.sh needs bash 5 or newer, this is $BASH_VERSION" >&2
    exit 2
fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
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
  --rows LIST        TL_ROWS         rows or groups, with commas, run in this order (default: sft,irm)
  --out DIR          TL_OUT          where everything goes (default: saves/tl_table)
  --sft KEY=VALUE                    for the rows of the first stage only; may be given several times
  --ppo KEY=VALUE                    for the rows of the second stage only; may be given several times
  -h, --help
Everything after -- goes to every run and overrules its file, such as: -- bf16=false use_cpu=true

Groups
  sft  ${sft_rows[*]}                 (stage tl_sft)
  irm  ${irm_rows[*]}       (stage tl_ppo, each from the model of the row without IRM, which runs first)

Results: DIR/ROW (the run), DIR/logs/ROW.log, DIR/summary.txt.
EOF
}

problems=()
problem() { problems+=("$1"); }

contains() { # WORD WORDS...
    local word=$1 other
    shift
    for other in "$@"; do [[ $other == "$word" ]] && return 0; done
    return 1
}

model=${TL_MODEL:-}
template=${TL_TEMPLATE:-}
data=${TL_DATA:-tl_training}
dataset_dir=${TL_DATASET_DIR:-$root/data}
eval_data=${TL_EVAL_DATA:-}
wanted=${TL_ROWS:-sft,irm}
out=${TL_OUT:-saves/tl_table}
extra=() sft_extra=() ppo_extra=()

while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            extra=("$@")
            break
            ;;
        --model | --template | --data | --dataset-dir | --eval-data | --rows | --out | --sft | --ppo)
            if (($# < 2)); then
                problem "$1 needs a value"
                shift
                continue
            fi
            case $1 in
                --model) model=$2 ;;
                --template) template=$2 ;;
                --data) data=$2 ;;
                --dataset-dir) dataset_dir=$2 ;;
                --eval-data) eval_data=$2 ;;
                --rows) wanted=$2 ;;
                --out) out=$2 ;;
                --sft) sft_extra+=("$2") ;;
                --ppo) ppo_extra+=("$2") ;;
            esac
            shift 2
            ;;
        *)
            problem "$1 is not an option; see --help (options for the runs come after --)"
            shift
            ;;
    esac
done

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
        irm) add_rows "${irm_rows[@]}" ;;
        *) add_rows "$word" ;;
    esac
done
for pair in "${extra[@]}" "${sft_extra[@]}" "${ppo_extra[@]}"; do
    [[ $pair == ?*=* ]] || problem "\"$pair\" is not of the form key=value"
    if [[ $pair == output_dir=* || $pair == overwrite_output_dir=* ]]; then
        problem "${pair%%=*} is set by this script; use --out"
    fi
done
info=$dataset_dir/dataset_info.json
if [[ ! -f $info ]]; then
    problem "--dataset-dir: $info does not exist; name the folder of your data sets"
else
    IFS=, read -r -a names <<<"$data${eval_data:+,$eval_data}"
    for name in "${names[@]}"; do
        grep -qF "\"$name\"" "$info" || problem "data set \"$name\" is not in $info; see examples/README.md"
    done
fi
command -v llamafactory-cli >/dev/null ||
    problem "llamafactory-cli is not found; activate the environment, or put its bin folder into PATH"
if ((${#problems[@]})); then
    echo "These options do not work:" >&2
    printf '  - %s\n' "${problems[@]}" >&2
    exit 2
fi

mkdir -p "$out/logs"
trap 'echo "Interrupted; the same command goes on here." >&2; exit 130' INT TERM

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

number() { # FILE KEY
    [[ ! -f $1 ]] || sed -n "s/.*\"$2\": *\([-+.0-9eE]*\).*/\1/p" "$1" | tail -n 1
}

rounded() { # NUMBER
    if [[ -z $1 ]]; then echo -; else LC_ALL=C printf '%.4f' "$1"; fi
}

declare -A status
failed=0

run_row() { # ROW
    local row=$1 from=${base[$1]:-} log=$out/logs/$1.log settings=$out/logs/$1.settings
    local started=$SECONDS code=0 words=() now
    now=$(settings_of "$row")
    if [[ -f $settings && $now != "$(cat "$settings")" ]]; then
        status[$row]="refused: begun with other settings"
        failed=1
        echo "$row: begun with other settings; choose another --out, or delete $out/$row and $settings:" >&2
        diff <(cat "$settings") <(echo "$now") | grep '^[<>]' >&2 || true
        return
    fi
    if [[ -f $out/logs/$row.done ]]; then
        status[$row]="done before"
        echo "$row: done before"
        return
    fi
    if [[ -n $from && ! -f $out/logs/$from.done ]]; then
        status[$row]="left out: row $from is not done"
        failed=1
        echo "$row: left out, as it goes on from row $from, which is not done" >&2
        return
    fi
    echo "$now" >"$settings"
    mapfile -t words <"$settings"
    echo "$row: llamafactory-cli ${words[*]}"
    llamafactory-cli "${words[@]}" >>"$log" 2>&1 || code=$?
    if ((code)); then
        status[$row]="failed with status $code"
        failed=1
        echo "$row: failed with status $code; the end of $log:" >&2
        tail -n 5 "$log" | sed 's/^/    /' >&2
    else
        echo "$((SECONDS - started))" >"$out/logs/$row.done"
        status[$row]="done"
        echo "$row: done in $((SECONDS - started)) s"
    fi
}

summary() {
    local row seconds
    printf '%-9s  %-36s  %9s  %13s  %15s  %12s\n' row status seconds "training loss" "evaluation loss" "last reward"
    for row in "${rows[@]}"; do
        seconds=-
        [[ ! -f $out/logs/$row.done ]] || seconds=$(cat "$out/logs/$row.done")
        printf '%-9s  %-36s  %9s  %13s  %15s  %12s\n' "$row" "${status[$row]}" "$seconds" \
            "$(rounded "$(number "$out/$row/train_results.json" train_loss)")" \
            "$(rounded "$(number "$out/$row/eval_results.json" eval_loss)")" \
            "$(rounded "$(number "$out/$row/trainer_state.json" reward)")"
    done
}

for row in "${rows[@]}"; do
    run_row "$row"
done
echo
summary | tee "$out/summary.txt"
exit "$failed"
