#!/bin/sh
# Writes what a bus of three servers or more needs, one for each host:
#
#   make.sh OUT HOST:ZONE HOST:ZONE HOST:ZONE
#   make.sh OUT    anew, for the same hosts: after an update of Usher, and once a year
#
# MAX_STORE=50GB, in the environment, is how much each server takes.
# OUT/NAME, the host's name up to the first dot, is the folder of its server, to be
# copied to /etc/nats there. OUT/creds and OUT/tls/ca.pem are for Usher. OUT/keys stays
# where this is run: the keys are kept, the certificates are made anew each time.
set -eu
umask 077
out=${1:?OUT: folder to write into}
shift
case $# in
0) usher bus config --out "$out" --again ${MAX_STORE:+--max-store "$MAX_STORE"} >/dev/null ;;
1 | 2) echo "make.sh: want HOST:ZONE of three servers or more" >&2; exit 2 ;;
esac

routes=
for server in "$@"; do routes=$routes${routes:+,}${server%%:*}:6222; done
for server in "$@"; do
  host=${server%%:*} zone=${server#*:} name=${server%%[.:]*}
  usher bus config --out "$out" --name "$name" --tags "zone:$zone" --tls-make \
    --listen 0.0.0.0:4222 --advertise "$host:4222" --http 127.0.0.1:8222 --store /var/lib/nats ${MAX_STORE:+--max-store "$MAX_STORE"} \
    --cluster 0.0.0.0:6222 --cluster-advertise "$host:6222" --routes "$routes" >/dev/null
done

urls=
for config in "$out"/*.conf; do
  name=$(basename "$config" .conf)
  [ -f "$out/tls/$name.pem" ] || continue # a server that was alone before
  mkdir -p "$out/$name/tls"
  # As the server finds them.
  sed "s|\"$(cd "$out" && pwd)/tls/|\"/etc/nats/tls/|" "$config" >"$out/$name/nats-server.conf"
  cp "$out/tls/$name.pem" "$out/tls/$name.key" "$out/tls/ca.pem" "$out/$name/tls/"
  host=$(sed -n 's/^client_advertise: "\(.*\)"$/\1/p' "$config")
  urls=$urls${urls:+,}tls://$host
  echo "copy $out/$name to /etc/nats of ${host%:*}, for its user alone: nats-server -c /etc/nats/nats-server.conf"
done
echo "copy from $out/creds what the parts of a machine use, and $out/tls/ca.pem, to /etc/usher/bus"
echo "tell Usher: bus: {url: \"$urls\", credentials: /etc/usher/bus/creds, tls: {ca: /etc/usher/bus/ca.pem}, replicas: 3}"
