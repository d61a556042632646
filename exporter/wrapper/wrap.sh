#!/bin/sh
# Runs a build and tells the exporter beside it how it went:
#
#     sh /ke1/bin/wrap make build
#     sh /ke1/bin/wrap --init make build-wrapper      # whose recipe is $(KE1_WRAP) $(MAKE) build
#
# For every POSIX sh (dash, busybox ash, bash). Environment: KE1_DIR, the volume shared with the exporter;
# KE1_ARTIFACT_DIR, what to hand back, inside the working directory (default: bin; empty: nothing); KE1_LOG_HEAD, a file
# with what there is to say of the source, if any; KE1_LOG_FILES, which files of the working directory are logs (extended
# regular expressions, one a line); KE1_METRICS_PATH, which has metrics. Ends with the build's exit code, or
#
#     0    without running anything, when the tag is built already
#     1    when the build succeeded, but what it left cannot be handed back
#     75   when the build cannot be blamed: the exporter turned it away (the reason is printed), or it was told to end
#     125  when the build could not be started
#
# With KE1_ROLE=sidecar or KE1_ROLE=init it runs a container that is beside a build or before it, on a volume of its own:
# nothing is handed back, and how it went is for the exporter to say. A sidecar's wrapper stays when its command has ended,
# as Kubernetes would start it again; an init container's ends with 0 even where its command failed, so that the exporter
# comes to be and stores its log.
#
# On the volume: `alive`, a FIFO that this process holds open as long as it lives; `log`; `artifacts/`; and `exit.json`,
# written whole as the last act. docs/exporter.md has the details.

set -u
unset CDPATH

# `wrap --init make build-wrapper` runs the image's entrypoint as a child. As PID 1, make outlives SIGTERM: it ends by
# sending itself the signal, and the kernel does not let PID 1 die of that. The build would only end with the pod's grace
# period.
if [ "${1:-}" = --init ]; then
    shift
    child=
    told=
    trap 'told=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT
    "$@" &
    child=$!
    while :; do
        wait "$child"
        code=$?
        # A signal ends `wait` before the child does.
        kill -0 "$child" 2>/dev/null || break
    done
    # What the wrapper below says with 75, make turns into 2.
    if [ -n "$told" ] || [ -e "${KE1_DIR:-/nonexistent}/refuse" ]; then
        exit 75
    fi
    exit "$code"
fi
# So that a build that calls its own build-wrapper target does not come here again.
unset KE1_WRAP

stop_before_build() {
    printf 'ke1: %s\n' "$1" >&2
    exit 125
}

# What is left of a sidecar that has nothing more to do.
idle() {
    trap 'exit 0' TERM INT
    exec 9>&-
    while :; do
        sleep 3600 & wait "$!"
    done
}

# Must come before anything is written to the FIFO: nobody reads it then.
heed_exporter() {
    if [ "$role" = sidecar ] && { [ -e "$shared/skip" ] || [ -e "$shared/refuse" ]; }; then
        idle
    fi
    if [ -e "$shared/skip" ]; then
        echo "ke1: built already, nothing to run" >&2
        exit 0
    fi
    if [ -e "$shared/refuse" ]; then
        IFS= read -r reason <"$shared/refuse"
        printf 'ke1: the exporter turned the build away: %s\n' "$reason" >&2
        exit 75
    fi
}

# A line of our own, in the pod's log and in the build's.
say() {
    printf 'ke1: %s\n' "$*" >&8
}

[ $# -gt 0 ] || stop_before_build "usage: wrap <command> [argument]..."
shared=$(cd -P -- "${KE1_DIR:-/nonexistent}" 2>/dev/null && pwd -P) || stop_before_build "KE1_DIR is not a directory"
# As PID 1, the kernel drops a signal that has no handler.
trap 'exit 143' TERM
trap 'exit 130' INT
role=${KE1_ROLE:-build}
unset KE1_ROLE

case $role in
    init)
        # An earlier one failed: what it was to prepare is not there.
        if ls -- "${KE1_INIT_DIR:-/nonexistent}"/*/failed >/dev/null 2>&1; then
            echo "ke1: not run, as an earlier init container failed" >&2
            exit 0
        fi
        # With a pod's sandbox, its init containers are made anew.
        rm -f -- "$shared/output" "$shared/exit.json"
        : >"$shared/alive" || stop_before_build "cannot write to $shared as uid $(id -u)"
        umask 022
        ;;
    sidecar)
        # Kubernetes starts it again when it was killed. It has had its run.
        [ ! -e "$shared/begun" ] || idle
        umask 022
        : >"$shared/begun" || stop_before_build "cannot write to $shared as uid $(id -u)"
        ;;
esac

[ -e "$shared/alive" ] || mkfifo "$shared/alive" 2>/dev/null || [ -e "$shared/alive" ] ||
    stop_before_build "cannot make a FIFO in $shared: is the volume writable for uid $(id -u)?"
# Blocks until the exporter opens it for reading: the go. Closed for all children, so that its end is this process's end.
exec 9>"$shared/alive"
heed_exporter
echo 1 >&9

[ -z "${KE1_QUIET:-}" ] || : >"$shared/quiet"
if [ -e "$shared/quiet" ]; then
    echo "ke1: what the build prints is masked and only in the store: ke1 logs ${BUILD_TAG:-}"
fi
# Output goes to the pod's log and to the volume. tee must outlive a SIGTERM to the whole process group: there are still
# things to be said.
mkfifo "$shared/output" || stop_before_build "cannot make a FIFO in $shared"
(
    trap '' TERM INT HUP
    # The pod's log is read by others than the store's is, and is not masked.
    if [ -e "$shared/quiet" ]; then
        exec cat <"$shared/output" >"$shared/log" 9>&-
    fi
    exec tee "$shared/log" <"$shared/output" 9>&-
) &
tee=$!
exec 8>"$shared/output"

code=125
problem=
told=
started=$(date +%s 8>&- 9>&-)

# Makes the working directory one that a build can write to.
prepare() {
    if [ "$role" = build ] && [ ! -w . ]; then
        say "$PWD is not writable for uid $(id -u 9>&-): building in a copy, $shared/work"
        case $shared/ in
            "${PWD%/}"/*)
                say "$PWD cannot be copied into $shared, which is inside it: set WORKDIR in the Dockerfile"
                return 1
                ;;
        esac
        # Some cp complain of each owner that they cannot keep: of interest only if they fail.
        if ! { mkdir "$shared/work" && cp -R -p -P . "$shared/work/"; } 2>"$shared/copy.log" 8>&- 9>&-; then
            tail -n 5 "$shared/copy.log" >&8 9>&-
            return 1
        fi
        cd "$shared/work" || return 1
    fi
    [ -z "${KE1_REPORTS:-}" ] || [ "$role" != build ] || mkdir -p -- "$KE1_REPORTS" 8>&- 9>&-
    if [ ! -w "${HOME:-/nonexistent}" ]; then
        HOME=$shared/home
        mkdir -p "$HOME" 8>&- 9>&-
        export HOME
    fi
    if [ ! -w "${TMPDIR:-/tmp}" ]; then
        TMPDIR=$shared/tmp
        mkdir -p "$TMPDIR" 8>&- 9>&-
        export TMPDIR
    fi
    # The tree's owner is whoever made the image; without this, git refuses to work in it.
    git_settings=${GIT_CONFIG_COUNT:-0}
    export "GIT_CONFIG_KEY_$git_settings=safe.directory" "GIT_CONFIG_VALUE_$git_settings=*"
    export GIT_CONFIG_COUNT=$((git_settings + 1))
}

# Ends a sidecar's command when the exporter says so: first in good order, then at once.
obey_exporter() {
    exec 8>&- 9>&-
    for order in stop:TERM kill:KILL; do
        until [ -e "$shared/${order%:*}" ]; do
            sleep 0.3 2>/dev/null || sleep 1
        done
        kill "-${order#*:}" "$child" 2>/dev/null
    done
}

# Runs the build in the background, as only `wait` lets a shell act on a signal at once.
run() {
    child=
    interrupted=
    trap 'interrupted=1; told=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
    # A shell makes what it starts in the background ignore SIGINT and SIGQUIT, and tests of a build may need them.
    if env --default-signal=INT,QUIT true 2>/dev/null 8>&- 9>&-; then
        env --default-signal=INT,QUIT "$@" >&8 2>&1 8>&- 9>&- &
    else
        "$@" >&8 2>&1 8>&- 9>&- &
    fi
    child=$!
    [ -z "$interrupted" ] || kill -TERM "$child" 2>/dev/null
    obeying=
    [ "$role" != sidecar ] || { obey_exporter & obeying=$!; }
    code=
    while :; do
        interrupted=
        wait "$child"
        status=$?
        # 127 also means that an earlier wait, at whose very end a signal came, has had the result.
        if [ "$status" -ne 127 ] || [ -z "$code" ]; then
            code=$status
        fi
        [ -n "$interrupted" ] || break
    done
    [ -z "$obeying" ] || kill "$obeying" 2>/dev/null
    # Nothing can stop what is left to do but SIGKILL.
    trap '' TERM INT HUP
}

# Hands the artifact directory to the exporter; sets problem if it cannot.
hand_back() {
    dir=${KE1_ARTIFACT_DIR-bin}
    [ -n "$dir" ] || return 0
    # What is in KE1_ARTIFACTS is there already, and may be all.
    if [ -n "$(ls -A -- "$shared/exports" 2>/dev/null 8>&- 9>&-)" ] &&
        [ -z "$(ls -A -- "$dir" 2>/dev/null 8>&- 9>&-)" ]; then
        return
    fi
    here=$(pwd -P)
    case $dir in
        /*) there=$dir ;;
        *) there=./$dir ;;
    esac
    if ! there=$(cd -P -- "$there" 2>/dev/null && pwd -P); then
        problem=no-artifacts
        say "the build succeeded, but left no directory $dir/"
        return
    fi
    case $there in
        "${here%/}"/?*) ;;
        *)
            problem=artifacts-outside
            say "the artifact directory $dir is not inside $here"
            return
            ;;
    esac
    if [ -z "$(ls -A -- "$there" 8>&- 9>&-)" ]; then
        problem=no-artifacts
        say "the build left nothing in $dir/"
        return
    fi
    case $there in
        "$shared"/*) set -- mv -- "$there" "$shared/artifacts" ;;
        *) set -- cp -R -P -- "$there" "$shared/artifacts" ;;
    esac
    if [ -e "$shared/artifacts" ] || ! "$@" >&8 2>&1 8>&- 9>&-; then
        problem=copy-failed
        say "could not copy $dir/ to $shared/artifacts"
    fi
}

# Hands over the logs that are in files, and the metrics, also of a build that failed. None of it is worth failing one.
hand_over() {
    if [ -n "${KE1_LOG_FILES:-}" ]; then
        mkdir "$shared/handed-logs"
        find . -type f | LC_ALL=C grep -E -e "$KE1_LOG_FILES" | head -n 1000 | while IFS= read -r file; do
            mkdir -p -- "$shared/handed-logs/${file%/*}" && cp -P -- "$file" "$shared/handed-logs/$file"
        done
    fi
    if [ -n "${KE1_METRICS_PATH:-}" ] && [ -f "$KE1_METRICS_PATH" ] && [ ! -e "$shared/metrics.prom" ]; then
        cp -- "$KE1_METRICS_PATH" "$shared/metrics.prom"
    fi
} >&8 2>&1 8>&- 9>&-

# Waits until all output is on the volume, but not for ever: a process that the build left behind may hold the pipe open.
end_output() {
    exec 8>&-
    (
        trap 'kill -9 "${nap:-}" 2>/dev/null; exit 0' TERM
        sleep 5 &
        nap=$!
        wait "$nap"
        kill -9 "$tee" 2>/dev/null
    ) >/dev/null 2>&1 9>&- &
    watchdog=$!
    if ! wait "$tee" 2>/dev/null; then
        echo "ke1: a process that the build left behind holds its output open: not waiting for it" |
            tee -a "$shared/log" 9>&-
    fi
    kill -TERM "$watchdog" 2>/dev/null
}

if [ -r "${KE1_LOG_HEAD:-}" ]; then
    cat "$KE1_LOG_HEAD" >&8 9>&-
fi
if prepare; then
    run "$@"
    # First: to hand back may be to move.
    [ "$role" != build ] || hand_over
    if [ "$code" -eq 0 ] && [ "$role" = build ]; then
        hand_back
    fi
else
    problem=not-prepared
fi
if [ "$code" -eq 0 ] && [ -n "$problem" ]; then
    code=1
fi
end_output
ended=$(date +%s 9>&-)
printf '{"exitCode":%d,"startedAt":%d,"endedAt":%d,"problem":"%s"}\n' \
    "$code" "$started" "$ended" "$problem" >"$shared/exit.json.new" &&
    mv -f -- "$shared/exit.json.new" "$shared/exit.json" 9>&-
[ "$role" != sidecar ] || [ -n "$told" ] || idle
[ "$role" != sidecar ] || exit 0
if [ "$role" = init ] && [ -z "$told" ]; then
    [ "$code" -eq 0 ] || : >"$shared/failed"
    exit 0
fi
# Told to end: that is no failure of the build, and the Job may start it again.
[ -z "$told" ] || exit 75
# A build that ends with 75 by itself has failed, and must not be started again.
[ "$code" -ne 75 ] || exit 1
exit "$code"
