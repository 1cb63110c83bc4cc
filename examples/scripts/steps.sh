# shellcheck shell=bash
# For scripts that run steps one after the other: problems, logs, resuming, the summary. Sourced, not run.
if ((BASH_VERSINFO[0] < 5)); then
    echo "${0##*/} needs bash 5 or newer, this is $BASH_VERSION" >&2
    exit 2
fi

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
    local name=$1 log=$out/logs/$1.log settings=$out/logs/$1.settings started=$SECONDS code=0
    shift
    step_names+=("$name")
    if [[ -f $settings && $* != "$(cat "$settings")" ]]; then
        status[$name]="refused: begun with other settings"
        failed=1
        echo "$name: begun with other settings; choose another --out, or delete its results and $settings:" >&2
        printf '< %s\n> %s\n' "$(cat "$settings")" "$*" >&2
        return 1
    fi
    if [[ -f $out/logs/$name.done ]]; then
        status[$name]="done before"
        echo "$name: done before"
        return 0
    fi
    echo "$*" >"$settings"
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

summary() { # FUNCTION: prints what a step came to
    local show=$1 name seconds
    printf '%-24s  %-36s  %9s  %s\n' step status seconds result
    for name in "${step_names[@]}"; do
        seconds=-
        [[ ! -f $out/logs/$name.done ]] || seconds=$(cat "$out/logs/$name.done")
        printf '%-24s  %-36s  %9s  %s\n' "$name" "${status[$name]}" "$seconds" "$("$show" "$name")"
    done
}

finish() { # FUNCTION
    echo
    summary "$1" | tee "$out/summary.txt"
    exit "$failed"
}
