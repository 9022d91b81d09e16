#!/bin/sh
# HAProxy for one machine. Ray lets the metrics and the statistics listen on every interface, whatever the service itself listens on;
# here they listen on loopback. MTD_HAPROXY is the executable; the arguments are HAProxy's own, the configuration after -f.
set -e
before=
for argument; do
    if [ "$before" = -f ]; then
        sed -i.open 's/^\( *bind \)\*\{0,1\}:/\1127.0.0.1:/' "$argument" # BSD's sed needs a suffix
        rm "$argument.open"
    fi
    before=$argument
done
exec "$MTD_HAPROXY" "$@"
