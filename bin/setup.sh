# shellcheck shell=bash
# What bin/wardrop sets a machine up with. Reads $home (the checkout) and $locks (the lock files that .venv must hold).

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ethtool, and a user's PATH has not
user=$(id -u)
pythons="3.11 to 3.13"

# What the emulation runs, and the package that brings it.
tools=(mnexec:mininet ovs-vswitchd:openvswitch-switch ip:iproute2 tc:iproute2 ethtool:ethtool curl:curl ping:iputils-ping tcpdump:tcpdump iperf3:iperf3)

say() { printf 'wardrop: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

as_owner() {
    if [ "$owner" = "$user" ]; then
        "$@"
    else
        local their_home
        their_home=$(getent passwd "$owner" | cut -d: -f6) || their_home=/nonexistent
        HOME=$their_home setpriv --reuid="$owner" --regid="$group" --clear-groups "$@"
    fi
}

# Root acts for the user who called sudo; without one who can write here, for whom the checkout belongs to.
owner=${SUDO_UID:-} group=${SUDO_GID:-}
if [ "$user" != 0 ]; then
    owner=$user group=$(id -g)
elif [ -z "$owner" ] || ! as_owner test -w "$home"; then
    owner=$(stat -c %u "$home") group=$(stat -c %g "$home")
fi

# WHAT COMMAND...: shows the command's last line while it runs, and leaves all of it in $output.
watched() {
    local what=$1 since=$SECONDS
    shift
    [ -t 2 ] || say "$what ..."
    output=$("$@" 2>&1 </dev/null 9<&- | while IFS= read -r line; do
        [ ! -t 2 ] || printf '\r\033[Kwardrop: %s: %.*s' "$what" $((${COLUMNS:-80} - ${#what} - 12)) "$line" >&2
        printf '%s\n' "$line"
    done) || return
    [ ! -t 2 ] || printf '\r\033[K' >&2
    say "$what: done in $((SECONDS - since)) s"
}

# WHAT COMMAND...: the same, and ends the set-up with all that the command said when it fails.
must() {
    watched "$@" || {
        printf '\n%s\n' "$output" >&2
        fail "$1: failed, as shown above. Nothing half-made is taken for complete: mend the cause and run this again."
    }
}

# Goes on as root, the rest of the set-up included. The environment is made before, while the caller's Python is known.
become_root() {
    [ "$user" != 0 ] || return 0
    command -v sudo >/dev/null ||
        fail "'$command' needs root, for network namespaces and Debian packages, and this machine has no sudo." \
            "Run it as root. 'list', 'check' and 'solve' need no root."
    if complete "${locks[@]}" || find_python; then make_environment; fi
    say "'$command' needs root: going on through sudo."
    exec sudo -- "$home/bin/wardrop" "$@"
}

missing_packages() {
    local tool
    for tool in "${tools[@]}"; do
        command -v "${tool%%:*}" >/dev/null || printf '%s\n' "${tool##*:}"
    done
    # A faster malloc for the switches (`ALLOCATOR` in topologies/testbed.py).
    ! command -v apt-get >/dev/null || compgen -G '/usr/lib/*/libtcmalloc_minimal.so.4' >/dev/null ||
        printf '%s\n' libtcmalloc-minimal4
    # What the environment is made with; apt's python3.11-venv completes Debian's python3.11.
    complete "${locks[@]}" || find_python || printf '%s\n' "${incomplete:-python3}-venv"
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 --yes --quiet "$@"; }

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages | sort -u)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "missing here: ${missing[*]}. There is no apt-get to install them with: Debian 12 and Ubuntu 24.04 are" \
            "supported. Elsewhere, install what brings these commands, then run this again: ${tools[*]%%:*}."
    say "Debian packages to install: ${missing[*]}"
    # Tests start a Prometheus of their own: the package's service, which would start now and at every boot, stays off.
    case " ${missing[*]} " in *" prometheus "*) systemctl mask prometheus.service >&2 || true ;; esac
    # Lists that are missing or old are only noticed by trying.
    watched "Debian packages" apt_get install --no-install-recommends "${missing[@]}" || {
        must "lists of Debian packages" apt_get update
        must "Debian packages" apt_get install --no-install-recommends "${missing[@]}"
    }
}

# Sets $python to the newest that can make the environment; else $incomplete to one that only lacks its venv module.
find_python() {
    python='' incomplete=''
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        as_owner "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue
        python=$name
        as_owner "$name" -c 'import ensurepip, venv' 2>/dev/null && return
        incomplete=${incomplete:-$name}
    done
    return 1
}

need_python() {
    find_python && return
    [ -z "$incomplete" ] || fail "$incomplete has no venv module. On Debian and Ubuntu: sudo apt-get install $incomplete-venv"
    fail "Python $pythons is needed; found: $(python3 --version 2>&1 || echo none)." \
        "On Debian 12 and Ubuntu 24.04: sudo apt-get install python3-venv"
}

# LOCK...: whether a set-up of .venv with these locks, as they are now, came to its end.
complete() (
    cd "$home" && [ -x .venv/bin/python ] || exit
    for lock in "$@"; do
        sha256sum "$lock" | grep -qxFf - .venv/complete 2>/dev/null || exit
    done
)

make_environment() {
    complete "${locks[@]}" || (
        flock --nonblock 9 || { say "another set-up is at work in $home: waiting for it" && flock 9; }
        complete "${locks[@]}" || build_environment
    ) 9<"$home"
}

build_environment() {
    cd "$home"
    if ! complete requirements.lock; then
        need_python
        rm -rf .venv
        say "Python packages to install into $home/.venv, with $python: $(cat "${locks[@]}" | grep -c ==)"
        must "virtual environment" as_owner "$python" -m venv .venv
        must "build tools" pip_install --constraint requirements.lock packaging pbr setuptools wheel
    fi
    rm -f .venv/complete
    # shellcheck disable=SC2046
    must "Python packages" pip_install --no-deps --no-build-isolation $(printf -- '--requirement %s ' "${locks[@]}")
    must "check" as_owner .venv/bin/python -m pip check
    # Which pip would do with one core, and for the packages' own tests too.
    must "bytecode" as_owner .venv/bin/python -m compileall -q -j 0 -x '/tests/' .venv/lib
    must "compiled kernels" compile_kernels
    sha256sum "${locks[@]}" | as_owner tee .venv/complete.new >/dev/null
    as_owner mv .venv/complete.new .venv/complete
}

# What is compiled at first use would hold up the first prices of the first run, of a small network or a large one.
compile_kernels() {
    as_owner .venv/bin/python -m experiments solve 'fat-tree(8)' --policy joint &
    as_owner .venv/bin/python -m experiments solve abilene --policy joint-distributed && wait $!
}

pip_install() { as_owner .venv/bin/python -m pip install --no-compile --disable-pip-version-check --progress-bar off "$@"; }
