#!/bin/sh
# Keeps mirrors of git repositories on a volume, for builds to clone from (docs/mirror.md):
#
#     sync run                keeps the mirrors in step with their remotes, until it is told to end: the one writer
#     sync ready | alive      the probes: every mirror is fresh; no mirror's loop hangs
#     sync collect NAME       drops what no build can need any more, now rather than when it is due
#
# For every POSIX sh with git 2.36 or later, and the usual tools (`cat comm cut date du find grep mkdir mv rm sed sleep sort
# tail timeout`). Environment: KE1_MIRRORS, the volume; KE1_MIRROR_LIST, a file with a name and an address a line; times in
# seconds, below; and that of git.sh.

set -u
programs=${0%/*}
# shellcheck source=mirror/git.sh
. "$programs/git"
umask 027

mirrors=${KE1_MIRRORS:-/ke1/mirrors}
list=${KE1_MIRROR_LIST:-$programs/mirrors}
# Between two looks at a remote.
interval=${KE1_INTERVAL:-60}
# How long one fetch may take.
limit=${KE1_FETCH_LIMIT:-3600}
# What builds may still need is kept for so long after no branch and no tag leads to it any more.
keep=${KE1_KEEP:-7200}
# Between two collections; with so many packs there is one sooner.
collect_every=${KE1_COLLECT_EVERY:-21600}
packs_limit=${KE1_PACKS_LIMIT:-50}

tell() {
    printf '%s %s: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$name" "$*"
}

beat() {
    date +%s >"$state/beat.$name"
}

# Each mirror has a loop of its own: a remote that is down, or slow, holds up no other.
run() {
    if [ ! -w "$mirrors" ]; then
        echo "mirror: $mirrors is not writable for uid $(id -u)" >&2
        exit 2
    fi
    prepare_git
    rm -rf "$state"/lock.*
    trap 'trap "" TERM INT; kill -TERM 0; wait; exit 0' TERM INT
    while read -r name url; do
        [ -n "$name" ] || continue
        beat
        keep_in_step &
    done <"$list"
    wait
}

keep_in_step() {
    repository=$mirrors/$name
    errors=$state/errors.$name
    # There is one writer, and it has just begun: what is locked, or half written, was so when another was killed.
    [ ! -d "$repository" ] || find "$repository" \( -name '*.lock' -o -name 'tmp_*' \) -type f -exec rm -f {} +
    while :; do
        beat
        lock
        if step 2>"$errors"; then
            date +%s >"$repository/ke1-synced.new" && mv -f "$repository/ke1-synced.new" "$repository/ke1-synced"
        else
            tell "not synced: ${objection:-$(reason_of "$errors")}; next try in $interval s"
        fi
        unlock
        beat
        sleep "$interval"
    done
}

# Between a mirror's loop and `collect` by hand.
lock() {
    until mkdir "$state/lock.$name" 2>/dev/null; do
        sleep 1
    done
}

unlock() {
    rmdir "$state/lock.$name"
}

step() {
    if objection_to "$url"; then
        return 1
    fi
    if [ ! -e "$repository" ]; then
        make_mirror
    elif is_whole; then
        update
    else
        tell "the mirror is broken ($(reason_of "$errors")): making another"
        make_mirror
    fi
}

# That each ref leads to an object is quickly seen, and is what a broken disk or a half-done copy lacks.
is_whole() {
    git --git-dir="$repository" for-each-ref --format='%(objecttype)' >/dev/null
}

# The remote's branches and tags, as the repository is configured. Not pull requests and the like: there may be a hundred
# times as many, and a build of one fetches only its difference.
fetch() {
    timeout "$limit" git --git-dir="$1" fetch --quiet --prune --no-tags --no-write-fetch-head origin
    status=$?
    [ "$status" -ne 124 ] || objection="it took longer than $limit s"
    return "$status"
}

# In a place of its own first: builds see a mirror that is whole, or none.
make_mirror() {
    since=$(date +%s)
    new=$repository.new
    rm -rf "$new" "$repository.old"
    git init --quiet --bare "$new" &&
        git --git-dir="$new" config remote.origin.url "$url" &&
        git --git-dir="$new" config --add remote.origin.fetch '+refs/heads/*:refs/heads/*' &&
        git --git-dir="$new" config --add remote.origin.fetch '+refs/tags/*:refs/tags/*' &&
        fetch "$new" &&
        git --git-dir="$new" pack-refs --all &&
        git --git-dir="$new" commit-graph write --reachable --no-progress || return 1
    if [ -e "$repository" ]; then
        mv "$repository" "$repository.old" || return 1
    fi
    mv "$new" "$repository" || return 1
    rm -rf "$repository.old"
    date +%s >"$repository/ke1-collected"
    tell "cloned: $(kib_of "$repository") KiB in $(($(date +%s) - since)) s"
}

update() {
    since=$(date +%s)
    # Left by one that was killed: what it had replaced by then is kept from now on.
    if [ -e "$repository/ke1-tips" ]; then
        keep_replaced || return 1
    fi
    tips >"$repository/ke1-tips.new" && mv -f "$repository/ke1-tips.new" "$repository/ke1-tips" || return 1
    size=$(kib_of "$repository/objects")
    fetch "$repository" || return 1
    if tips | comm -3 - "$repository/ke1-tips" | grep -q .; then
        tell "fetched $(($(kib_of "$repository/objects") - size)) KiB in $(($(date +%s) - since)) s"
    fi
    keep_replaced || return 1
    collect_if_due
}

tips() {
    git --git-dir="$repository" for-each-ref --format='%(objectname) %(objecttype)' refs/heads refs/tags | sort -u
}

# A build that has begun reads objects of the mirror for as long as it runs, and the mirror cannot know of it. git's own
# rule, the age of objects (gc.pruneExpire), does not help: an object of last month whose branch was rewritten a second ago
# is old enough to go at once. So what a branch or tag led to, and no longer does, gets a ref of ours, with the time in its
# name; and only what no ref leads to is ever dropped.
keep_replaced() {
    now=$(date +%s)
    tips | comm -13 - "$repository/ke1-tips" | while read -r object type; do
        # Nothing was lost where a branch went on. A tag is an object of its own, which nothing else leads to.
        if [ "$type" = tag ] ||
            [ -n "$(git --git-dir="$repository" rev-list --max-count=1 "$object" --not --branches --tags)" ]; then
            echo "update refs/ke1/kept/$now/$object $object"
        fi
    done >"$repository/ke1-keep" || return 1
    git --git-dir="$repository" update-ref --stdin <"$repository/ke1-keep" || return 1
    rm -f "$repository/ke1-tips" "$repository/ke1-keep"
}

collect_if_due() {
    read -r last 2>/dev/null <"$repository/ke1-collected" || last=0
    packs=$(find "$repository/objects/pack" -name '*.pack' | grep -c .)
    if [ "$packs" -ge "$packs_limit" ] || [ $(($(date +%s) - last)) -ge "$collect_every" ]; then
        collect
    fi
}

# What was kept for long enough loses its ref; then all that a ref leads to goes into one pack, and the rest goes.
collect() {
    since=$(date +%s)
    size=$(kib_of "$repository/objects")
    oldest=$((since - keep))
    git --git-dir="$repository" for-each-ref --format='%(refname)' refs/ke1/kept | while IFS=/ read -r a b c at object; do
        [ "$at" -ge "$oldest" ] || echo "delete $a/$b/$c/$at/$object"
    done >"$repository/ke1-expired" || return 1
    git --git-dir="$repository" update-ref --stdin <"$repository/ke1-expired" &&
        rm -f "$repository/ke1-expired" &&
        git --git-dir="$repository" pack-refs --all &&
        git --git-dir="$repository" repack -q -a -d &&
        git --git-dir="$repository" prune --expire=now &&
        git --git-dir="$repository" commit-graph write --reachable --no-progress || return 1
    date +%s >"$repository/ke1-collected"
    tell "collected: $size KiB became $(kib_of "$repository/objects") KiB in $(($(date +%s) - since)) s"
}

# Whether the time in a file is no longer ago than so many seconds.
is_recent() {
    read -r at 2>/dev/null <"$1" || return 1
    [ $(($(date +%s) - at)) -le "$2" ]
}

probe() {
    while read -r name url; do
        case $1 in
            ready) is_recent "$mirrors/$name/ke1-synced" $((3 * interval + 60)) ;;
            alive) is_recent "$state/beat.$name" $((interval + 2 * limit + 600)) ;;
        esac || {
            echo "$name ($url) is not $1"
            exit 1
        }
    done <"$list"
}

case ${1:-} in
    run) run ;;
    ready | alive) probe "$1" ;;
    collect)
        name=${2:?the name of a mirror is missing}
        repository=$mirrors/$name
        prepare_git
        lock
        trap unlock EXIT
        collect
        ;;
    *)
        echo "usage: sync run | ready | alive | collect NAME" >&2
        exit 2
        ;;
esac
