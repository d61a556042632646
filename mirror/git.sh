#!/bin/sh
# What syncer and source have in common; they read this file in. As a program of its own it is git's credential helper:
#
#     git.sh get              the user and the password that git asks for
#
# Environment: KE1_GIT_SECRET, a directory with `username` and `password`, or `ssh-privatekey` and `known_hosts`, or
# nothing; KE1_GIT_ORIGIN, where alone the password is sent to, such as https://github.com. A credential is read from its
# file by the program that sends it: it is in no argument, no variable, and on no volume.

set -u
unset CDPATH

secret=${KE1_GIT_SECRET:-/ke1/git}
state=${TMPDIR:-/tmp}
# Where these programs are.
programs=${programs:-${0%/*}}

# What git may do here: no prompt, no transport but these, no clean-up of its own accord, and no host that is not known. A
# server that counts what it is about to send keeps silent for minutes, but for a few bytes each five seconds
# (uploadpack.keepAlive): only ten minutes of nothing are the end.
prepare_git() {
    export HOME="$state" LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=https:http:ssh:git
    export GIT_CONFIG_GLOBAL="$state/gitconfig"
    git_ssh="ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=20"
    git_ssh="$git_ssh -o ServerAliveInterval=15 -o GlobalKnownHostsFile=/dev/null"
    git_ssh="$git_ssh -o UserKnownHostsFile='$secret/known_hosts' -o IdentitiesOnly=yes -i '$secret/ssh-privatekey'"
    cat >"$GIT_CONFIG_GLOBAL" <<END
[safe]
    directory = *
[gc]
    auto = 0
[maintenance]
    auto = false
[fetch]
    unpackLimit = 1
[http]
    lowSpeedLimit = 1
    lowSpeedTime = 600
[pack]
    windowMemory = 128m
[repack]
    writeBitmaps = false
[advice]
    detachedHead = false
[core]
    sshCommand = "$git_ssh"
END
    if [ -r "$secret/password" ] && [ -n "${KE1_GIT_ORIGIN:-}" ]; then
        cat >>"$GIT_CONFIG_GLOBAL" <<END
[credential "$KE1_GIT_ORIGIN"]
    helper = "!sh '$programs/git' get"
END
    fi
}

# Sets `objection` to what keeps an address from being asked at all.
objection_to() {
    objection=
    case $1 in
        ssh://*)
            if [ ! -r "$secret/known_hosts" ]; then
                objection="ssh needs the key known_hosts in the Secret, as no host is trusted blindly"
            elif ! command -v ssh >/dev/null; then
                objection="the image has no ssh: set mirrorImage to one with git and ssh"
            fi
            ;;
    esac
    [ -n "$objection" ]
}

# The line of git's that says what is the matter, not those that only say that something is, or what followed from it.
reason_of() {
    grep -E 'RPC failed|unable to access' "$1" | tail -n 1 | sed 's/^\(fatal\|error\): //' | cut -c 1-300 | grep . && return
    noise='^(Please make sure you have|and the repository exists|fatal: (Could not read from remote|early EOF|the remote end))'
    grep -vE "$noise" "$1" | grep -v '^[[:space:]]*$' | tail -n 1 | sed 's/^\(fatal\|error\): //' | cut -c 1-300 | grep . ||
        tail -n 1 "$1" | grep . || echo "no reason was given"
}

kib_of() {
    kib=$(du -sk "$1" 2>/dev/null) || kib=0
    printf '%s' "${kib%%[!0-9]*}"
}

if [ "${1:-}" = get ] && [ -r "$secret/password" ]; then
    username=x-access-token
    [ ! -r "$secret/username" ] || username=$(cat "$secret/username")
    printf 'username=%s\npassword=%s\n' "$username" "$(cat "$secret/password")"
fi
