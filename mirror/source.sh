#!/bin/sh
# Makes the working copy of one commit, from its mirror as far as that goes (docs/mirror.md). For every POSIX sh with git
# 2.36 or later. Environment: KE1_REMOTE, the repository's address; KE1_COMMIT; KE1_PREFIX, the directory in it that is
# built, empty for the whole; KE1_TREE, that directory's tree; KE1_MIRRORS, the volume with the mirrors; KE1_MIRROR, the
# mirror's name; KE1_WORK, where the copy goes: to `work`, and what there is to say of it to `log`; TMPDIR, a directory of
# its own; and that of git.sh.
#
# Ends with 0; with 1 when the source could not be had, but may be had later; with 3 when to try again is of no use.

set -u
programs=${0%/*}
# shellcheck source=mirror/git.sh
. "$programs/git"
umask 022

mirror=${KE1_MIRRORS:-/ke1/mirrors}/$KE1_MIRROR
work=$KE1_WORK/work
errors=$state/errors
short=$(printf '%.12s' "$KE1_COMMIT")

# A line for the pod's log, and for the build's: the wrapper puts it at its head.
say() {
    printf 'ke1: source: %s\n' "$*" | tee -a "$KE1_WORK/log"
}

give_up() {
    say "$2"
    exit "$1"
}

# Whether the working copy could be had with the mirror.
with_mirror() {
    if [ ! -e "$mirror/HEAD" ]; then
        say "there is no mirror of $KE1_REMOTE yet"
        return 1
    fi
    read -r synced 2>/dev/null <"$mirror/ke1-synced" || synced=0
    age="synced $(($(date +%s) - synced)) s ago"
    if is_live; then
        if start_with_mirror && check_out; then
            say "$short is in the mirror, $age: nothing was fetched"
            return
        fi
    elif git --git-dir="$mirror" cat-file -e "$KE1_COMMIT" 2>/dev/null; then
        # Nobody knows how much longer it is there.
        say "no branch and no tag of the mirror leads to $short any more"
        return 1
    elif start_with_mirror && fetch "$KE1_COMMIT" && check_out; then
        say "$short is newer than the mirror, $age: fetched $(kib_of "$work/.git/objects/pack") KiB from $KE1_REMOTE"
        return
    fi
    say "the mirror was of no help: $(reason_of "$errors")"
    return 1
}

# Whether a branch or a tag of the mirror leads to the commit: then the mirror keeps it for as long as a build may take.
is_live() {
    [ -n "$(git --git-dir="$mirror" for-each-ref --count=1 --contains="$KE1_COMMIT" refs/heads refs/tags 2>"$errors")" ]
}

start() {
    rm -rf "$work"
    git init --quiet --initial-branch=ke1 "$work" 2>"$errors" &&
        git -C "$work" remote add origin "$KE1_REMOTE" 2>"$errors"
}

# What `git clone --shared --reference` makes, but without asking the remote: objects are read from where the mirror is.
start_with_mirror() {
    start &&
        printf '%s\n' "$mirror/objects" >"$work/.git/objects/info/alternates" &&
        # What is fetched later builds on what the mirror keeps, and on nothing else that it still has.
        git -C "$work" config core.alternateRefsPrefixes "refs/heads/ refs/tags/" &&
        # Tags, as `git describe` wants them. As a file: one ref at a time would take seconds.
        {
            echo "# pack-refs with: peeled fully-peeled sorted "
            git --git-dir="$mirror" for-each-ref --format="$packed_ref" refs/tags
        } >"$work/.git/packed-refs" 2>"$errors"
}
packed_ref='%(objectname) %(refname)%(if)%(*objectname)%(then)%0a^%(*objectname)%(end)'

without_mirror() {
    say "cloning $KE1_REMOTE without a mirror"
    start || give_up 1 "cannot make a repository: $(reason_of "$errors")"
    fetch_patiently '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
    git -C "$work" cat-file -e "$KE1_COMMIT^{commit}" 2>/dev/null || fetch_patiently "$KE1_COMMIT"
    check_out || give_up 1 "cannot check out $short: $(reason_of "$errors")"
    say "$short is there: fetched $(kib_of "$work/.git/objects/pack") KiB from $KE1_REMOTE"
}

fetch_patiently() {
    for pause in 2 5 0; do
        if fetch "$@"; then
            return
        fi
        [ "$pause" -eq 0 ] || sleep "$pause"
    done
    give_up 1 "$KE1_REMOTE cannot be reached: $(reason_of "$errors")"
}

# Ends at once where the remote has given an answer that it will give again.
fetch() {
    if objection_to "$KE1_REMOTE"; then
        give_up 3 "$objection"
    fi
    if git -C "$work" fetch --quiet --no-tags --no-write-fetch-head origin "$@" 2>"$errors"; then
        return
    fi
    reason=$(reason_of "$errors")
    case $reason in
        *"not our ref"* | *"unadvertised object"*)
            give_up 3 "$KE1_REMOTE has no commit $KE1_COMMIT: push it first"
            ;;
        *"Authentication failed"* | *"could not read Username"* | *"Permission denied"* | *"Host key verification failed"* | \
            *"error: 403"* | *"' not found"*)
            give_up 3 "$KE1_REMOTE turned us away: $reason"
            ;;
    esac
    return 1
}

check_out() {
    git -C "$work" checkout --quiet --detach "$KE1_COMMIT" 2>"$errors"
}

# The files themselves are hashed once more: an index that was just read knows no file, and trusts no time of one.
verify() {
    tree=$(git -C "$work" rev-parse --verify --quiet "$KE1_COMMIT:${KE1_PREFIX:-}") || tree=none
    [ "$tree" = "$KE1_TREE" ] || give_up 3 "the commit's tree is $tree, not $KE1_TREE, which was to be built"
    if ! git -C "$work" read-tree "$KE1_COMMIT" 2>"$errors" || ! git -C "$work" update-index --refresh >"$errors" 2>&1; then
        give_up 3 "the working copy is not $KE1_TREE: $(tail -n 1 "$errors")"
    fi
}

begun=$(date +%s)
mkdir -p "$state" || exit 1
trap 'rm -rf "$state"' EXIT
prepare_git
# A container that is started again begins anew.
rm -rf "$work" "$KE1_WORK/log"
if ! with_mirror; then
    without_mirror
fi
verify
say "ready after $(($(date +%s) - begun)) s"
