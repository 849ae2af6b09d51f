#!/bin/sh
# Makes a pool's authority and one certificate a role, once, each where only that role's service can read it.
#
#     netpool-certificates [make]     what is missing, and a fresh revocation list; nothing else is touched
#     netpool-certificates renew WHO    a new certificate and key; the old one stays valid until it expires
#     netpool-certificates revoke WHO   every certificate of it so far; the broker cuts it off at its next reload
#
# WHO is broker, worker, client or health. $CERTIFICATES (default /certificates) holds one directory a volume: authority (the key of the authority: only this service
# mounts it), broker, worker, client, health. $BROKER_HOSTS are the names and addresses under which the broker is
# reached.
set -eu
umask 077

root=${CERTIFICATES:-/certificates}
authority=$root/authority
broker_hosts=${BROKER_HOSTS:-broker localhost 127.0.0.1}

role_of() {
    case $1 in
    broker | worker | client) echo "$1" ;;
    health) echo admin ;; # may ask for the status, and nothing else
    *)
        echo "netpool-certificates: no role '$1': broker, worker, client or health" >&2
        exit 2
        ;;
    esac
}

# Written beside and renamed, so that a service that reloads never reads half a file.
hand_out() {
    cp "$1" "$2.new"
    mv "$2.new" "$2"
}

issue() {
    who=$1
    role=$(role_of "$who")
    set --
    if [ "$role" = broker ]; then
        for host in $broker_hosts; do
            set -- "$@" --host "$host"
        done
    fi
    netpool ca issue "$authority" --role "$role" --name "$who" --force "$@"
    hand_out "$authority/ca.pem" "$root/$who/ca.pem"
    hand_out "$authority/$role-$who.key" "$root/$who/key.pem"
    hand_out "$authority/$role-$who.pem" "$root/$who/cert.pem"
}

case ${1:-make} in
make)
    [ -e "$authority/ca.pem" ] || netpool ca init "$authority"
    for service in broker worker client health; do
        [ -e "$root/$service/cert.pem" ] || issue "$service"
    done
    netpool ca crl "$authority"
    hand_out "$authority/crl.pem" "$root/broker/crl.pem"
    ;;
renew)
    issue "${2:?whose: broker, worker, client or health}"
    ;;
revoke)
    who=${2:?whose: broker, worker, client or health}
    netpool ca revoke "$authority" --role "$(role_of "$who")" --name "$who"
    hand_out "$authority/crl.pem" "$root/broker/crl.pem"
    ;;
*)
    echo "usage: netpool-certificates [make | renew WHO | revoke WHO]" >&2
    exit 2
    ;;
esac
