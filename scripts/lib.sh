# lib.sh - what every script here shares: where things are, which port is whose,
# how to speak to the reader, how to wait. Sourced, never run.
#
# Settings, all from the environment:
#   RUN_DIR    everything a running copy keeps (default .run in the clone)
#   PORT_BASE  first port of the copy (default 8080, or what RUN_DIR was last started with)
#   PRESET     which build to run (default release)
# shellcheck shell=bash disable=SC2034

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PRESET=${PRESET:-release}
BIN=$ROOT/build/$PRESET/bin

RUN_DIR=${RUN_DIR:-.run}
case $RUN_DIR in /*) ;; *) RUN_DIR=$ROOT/$RUN_DIR ;; esac
RUN_DIR=$(realpath -m "$RUN_DIR")

SECRETS=$RUN_DIR/secrets
TLS_DIR=$RUN_DIR/tls
SERVICES_DIR=$RUN_DIR/service
LOG_DIR=$RUN_DIR/log
CONF_DIR=$RUN_DIR/conf
PG_LINK=$RUN_DIR/pg # a folder, or a link to the place where PostgreSQL may be

INFRA=(postgres kafka)
BACKENDS=(auth-svc order-svc asset-svc txn-svc admin-svc)
PROCESSES=("${BACKENDS[@]}" gateway)
SCHEMAS=(auth orders assets txns admin)

# --- speaking ---------------------------------------------------------------

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf 'note: %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}
need() { # need COMMAND: dies with the way to get it
    command -v "$1" >/dev/null || die "'$1' is not installed: run 'make deps', then this again"
}

# --- the copy's ports -------------------------------------------------------

recorded_port_base() { cat "$RUN_DIR/port_base" 2>/dev/null || true; }

# A copy that was started keeps its ports: `make status` need not be told them again.
port_base_of_copy() {
    local recorded
    recorded=$(recorded_port_base)
    PORT_BASE=${recorded:-${PORT_BASE:-8080}}
    check_port_base
}

check_port_base() {
    [[ $PORT_BASE =~ ^[0-9]{1,5}$ ]] && ((10#$PORT_BASE >= 1024 && 10#$PORT_BASE <= 64000)) ||
        die "PORT_BASE='$PORT_BASE' is no number from 1024 to 64000: choose another"
}

# port_of NAME: the port of a process (or of `controller`, Kafka's second one).
port_of() {
    local plus
    case $1 in
    gateway) plus=0 ;;
    auth-svc) plus=1 ;;
    order-svc) plus=2 ;;
    asset-svc) plus=3 ;;
    txn-svc) plus=4 ;;
    admin-svc) plus=5 ;;
    postgres) plus=10 ;;
    kafka) plus=11 ;;
    controller) plus=12 ;;
    *) die "no process is called '$1'" ;;
    esac
    echo $((PORT_BASE + plus))
}
operator_port_of() { echo $(($(port_of "$1") + 1000)); }

# How to reach the gateway of a copy that was started: sets gateway (a URL) and CURL_CA (arguments for curl).
find_gateway() {
    gateway=http://127.0.0.1:$(port_of gateway) CURL_CA=()
    grep -q '^TLS_CERT_FILE=' "$SERVICES_DIR/gateway/run" 2>/dev/null || return 0
    gateway=https://127.0.0.1:$(port_of gateway) CURL_CA=(--cacert "$TLS_DIR/ca.pem")
}

schema_of() {
    case $1 in
    order-svc) echo orders ;;
    asset-svc) echo assets ;;
    txn-svc) echo txns ;;
    auth-svc) echo auth ;;
    admin-svc) echo admin ;;
    esac
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# port_holder PORT: who listens there, for a human, or nothing.
port_holder() {
    ss -Hltnp "sport = :$1" 2>/dev/null |
        sed -nE 's/.*users:\(\("([^"]+)",pid=([0-9]+).*/\1 (pid \2)/p' | head -n 1
}

# --- waiting ----------------------------------------------------------------

now_ms() { date +%s%3N; }

# wait_for SECONDS COMMAND...: 0 when it succeeds, 1 when time is up.
wait_for() {
    local until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < until)) || return 1
        sleep 0.1
    done
}

# --- signing keys ---------------------------------------------------------------

new_signing_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
# A signing key is named after itself: the start of the SHA-256 of its public half.
kid_of() { openssl pkey -in "$1" -pubout -outform DER | sha256sum | cut -c1-16; }

# --- the copy itself --------------------------------------------------------

running_as_root() { ((EUID == 0)); }

# One script at a time changes a copy; the lock ends with the script.
lock_copy() {
    exec 9>"$RUN_DIR/lock"
    flock -w 1 9 || die "another 'make up' or 'make down' is at work on $RUN_DIR: wait for it, then run this again"
}

# Runs a command as the user that owns the cluster: PostgreSQL refuses root.
as_postgres() {
    if running_as_root; then
        (cd / && exec chpst -u postgres "$@")
    else
        "$@"
    fi
}

# The newest PostgreSQL on the machine that is 15 or later, or the one that made the cluster.
pg_bin() {
    local want='' best=0 dir version
    [[ -r $PG_LINK/data/PG_VERSION ]] && want=$(<"$PG_LINK/data/PG_VERSION")
    for dir in /usr/lib/postgresql/*/bin; do
        version=$(basename "$(dirname "$dir")")
        [[ -x $dir/postgres && $version =~ ^[0-9]+$ ]] || continue
        [[ -z $want || $version == "$want" ]] || continue
        ((version >= 15 && version > best)) && best=$version
    done
    if ((best == 0)); then
        [[ -z $want ]] || die "the cluster in $PG_LINK was made by PostgreSQL $want, which is not installed: install postgresql-$want, or 'make clean' to begin anew"
        die "no PostgreSQL 15 or later is installed: run 'make deps', then this again"
    fi
    echo "/usr/lib/postgresql/$best/bin"
}

# java_bin: a Java 17 or later.
java_bin() {
    local java major
    for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [[ -x $java ]] || continue
        major=$("$java" -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p')
        [[ -n $major ]] && ((major >= 17)) || continue
        readlink -f "$java"
        return
    done
    die "no Java 17 or later is installed, and Kafka needs one: run 'make deps', then this again"
}

# psql_as ROLE ARGS...: psql on the copy's database as that role, by password.
psql_as() {
    local role=$1
    shift
    PGPASSFILE=$SECRETS/pgpass PGOPTIONS='' psql -X -q -h 127.0.0.1 -p "$(port_of postgres)" \
        -U "$role" -d brokerage "$@"
}

# --- runit ------------------------------------------------------------------

sv_() { SVDIR=$SERVICES_DIR sv "$@"; }

# Is a runsv watching this service?
watched() { sv_ status "$1" 2>/dev/null | grep -qE '^(run|down|finish):'; }

# service_pid NAME: the pid of the running process, or nothing.
service_pid() {
    [[ $(cat "$SERVICES_DIR/$1/supervise/stat" 2>/dev/null) == run* ]] || return 0
    watched "$1" || return 0
    cat "$SERVICES_DIR/$1/supervise/pid" 2>/dev/null || true
}

supervisor_pid() {
    local pid
    pid=$(cat "$RUN_DIR/supervisor.pid" 2>/dev/null) || return 0
    [[ -r /proc/$pid/cmdline ]] || return 0
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "runsvdir -P $SERVICES_DIR "; then echo "$pid"; fi
}

# ready NAME: does it answer that it is?
ready() {
    case $1 in
    postgres) "$(pg_bin)/pg_isready" -q -h 127.0.0.1 -p "$(port_of postgres)" ;;
    kafka) port_open "$(port_of kafka)" ;;
    *) curl -fs -o /dev/null --max-time 2 "http://127.0.0.1:$(operator_port_of "$1")/readyz" ;;
    esac
}

# Ready, and its events flow: a service is ready without Kafka, but its answers would come late.
flowing() {
    [[ $(curl -fs --max-time 2 "http://127.0.0.1:$(operator_port_of "$1")/readyz?verbose") == *'relay ok'*'subscriber ok'* ]]
}

# last_log NAME [LINES]
last_log() { tail -n "${2:-15}" "$LOG_DIR/$1/current" 2>/dev/null | sed 's/^/    | /' | cut -c1-400; }
