# shellcheck shell=bash
# For scripts that run steps one after the other: problems, logs, resuming, the summary. Sourced, not run.
if ((BASH_VERSINFO[0] < 5)); then
    echo "${0##*/} needs bash 5 or newer, this is $BASH_VERSION" >&2
    exit 2
fi

# Whatever these scripts train, baselines too, is checked before a model is loaded.
export LLAMAFACTORY_EXT_CHECKS=1

problems=()
problem() { problems+=("$1"); }

contains() { # WORD WORDS...
    local word=$1 other
    shift
    for other in "$@"; do [[ $other == "$word" ]] && return 0; done
    return 1
}

need() { # COMMAND...
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null ||
            problem "$command is not found; activate the environment, or put its bin folder into PATH"
    done
}

declare -A options=() flags=() # option to variable, which gets its value, or 1; a list is marked by +
named=() extra=()

# Reads the command line by `options` and `flags`; other words go to `named`, those after -- to `extra`.
read_options() { # WORDS...
    local word
    while (($#)); do
        word=$1
        shift
        if [[ $word == -h || $word == --help ]]; then
            usage
            exit 0
        elif [[ $word == -- ]]; then
            # shellcheck disable=SC2034 # read by the script
            extra=("$@")
            return
        elif [[ -n ${flags[$word]:-} ]]; then
            printf -v "${flags[$word]}" 1
        elif [[ -z ${options[$word]:-} ]]; then
            if [[ $word == -* ]]; then problem "$word is not an option; see --help"; else named+=("$word"); fi
        elif ((! $#)); then
            problem "$word needs a value"
        elif [[ ${options[$word]} == *+ ]]; then
            local -n list=${options[$word]%+}
            list+=("$1")
            shift
        else
            printf -v "${options[$word]}" %s "$1"
            shift
        fi
    done
}

no_words() {
    local word
    for word in "${named[@]}"; do problem "\"$word\" is not an option; see --help (those of the runs come after --)"; done
}

end_on_problems() {
    ((${#problems[@]})) || return 0
    echo "These options do not work:" >&2
    printf '  - %s\n' "${problems[@]}" >&2
    exit 2
}

begin() { # OUT
    out=$1
    mkdir -p "$out/logs"
    trap 'echo "Interrupted; the same command goes on here." >&2; exit 130' INT TERM
}

declare -A status
step_names=()
failed=0

# Runs a command as a step with a log; skips it if it is done, refuses it if it was begun with another command.
step() { # NAME COMMAND...
    local name=$1 log=$out/logs/$1.log settings=$out/logs/$1.settings started=$SECONDS code=0 now
    shift
    step_names+=("$name")
    now=$(printf '%s\n' "$@")
    if [[ -f $settings && $now != "$(cat "$settings")" ]]; then
        status[$name]="refused: begun with other settings"
        failed=1
        echo "$name: begun with other settings; choose another --out, or delete $out/$name and $settings:" >&2
        diff <(cat "$settings") <(echo "$now") | grep '^[<>]' >&2 || true
        return 1
    fi
    if [[ -f $out/logs/$name.done ]]; then
        status[$name]="done before"
        echo "$name: done before"
        return 0
    fi
    echo "$now" >"$settings"
    echo "$name: $*"
    "$@" >>"$log" 2>&1 || code=$?
    if ((code)); then
        status[$name]="failed with status $code"
        failed=1
        echo "$name: failed with status $code; the end of $log:" >&2
        tail -n 5 "$log" | sed 's/^/    /' >&2
        return 1
    fi
    echo "$((SECONDS - started))" >"$out/logs/$name.done"
    status[$name]="done"
    echo "$name: done in $((SECONDS - started)) s"
}

skip() { # NAME REASON
    step_names+=("$1")
    status[$1]="left out: $2"
    failed=1
    echo "$1: left out: $2" >&2
}

number() { # FILE KEY
    [[ ! -f $1 ]] || sed -n "s/.*\"$2\": *\([-+.0-9eE]*\).*/\1/p" "$1" | tail -n 1
}

# A number of a run's results with four digits, or - where there is none.
figure() { # FILE KEY
    local value
    value=$(number "$1" "$2")
    if [[ -z $value ]]; then echo -; else LC_ALL=C printf '%.4f\n' "$value"; fi
}

# What overrules the files of runs.
check_pairs() { # WHERE KEY=VALUE...
    local where=$1 pair
    shift
    for pair in "$@"; do
        [[ $pair == ?*=* ]] || problem "\"$pair\" $where is not of the form key=value"
        if [[ $pair == output_dir=* || $pair == overwrite_output_dir=* ]]; then
            problem "${pair%%=*} is set by this script; use --out"
        fi
    done
}

check_data() { # DIR NAMES
    local info=$1/dataset_info.json name names
    if [[ ! -f $info ]]; then
        problem "--dataset-dir: $info does not exist; name the folder of your data sets"
        return
    fi
    IFS=, read -r -a names <<<"$2"
    for name in "${names[@]}"; do
        grep -qF "\"$name\"" "$info" || problem "data set \"$name\" is not in $info; see examples/README.md"
    done
}

summary() { # FUNCTION [HEADING]: prints what a step came to, under the heading
    local show=$1 name seconds
    printf '%-24s  %-36s  %9s  %s\n' step status seconds "${2:-result}"
    for name in "${step_names[@]}"; do
        seconds=-
        [[ ! -f $out/logs/$name.done ]] || seconds=$(cat "$out/logs/$name.done")
        printf '%-24s  %-36s  %9s  %s\n' "$name" "${status[$name]}" "$seconds" "$("$show" "$name")"
    done
}

finish() { # FUNCTION [HEADING]
    echo
    summary "$@" | tee "$out/summary.txt"
    exit "$failed"
}
