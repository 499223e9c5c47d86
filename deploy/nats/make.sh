#!/bin/sh
# Writes what a bus of three servers or more needs, one for each host:
#
#   make.sh OUT HOST:ZONE HOST:ZONE HOST:ZONE
#
# OUT/NAME, the host's name up to the first dot, is the folder of its server, to be
# copied to /etc/nats there: configuration, certificate and key. OUT/creds and OUT/tls/ca.pem are for
# Usher. OUT/keys stays where this is run. Run again it keeps the keys and makes the
# certificates anew: do so after an update of Usher, and once a year.
set -eu
umask 077
out=${1:?OUT: folder to write into}
shift
[ $# -ge 3 ] || { echo "make.sh: want HOST:ZONE of three servers or more" >&2; exit 2; }

routes=
for server in "$@"; do routes=$routes${routes:+,}${server%%:*}:6222; done

for server in "$@"; do
  host=${server%%:*} zone=${server#*:} name=${server%%[.:]*}
  usher bus config --out "$out" --name "$name" --tags "zone:$zone" --tls-make \
    --listen 0.0.0.0:4222 --advertise "$host:4222" --http 127.0.0.1:8222 --store /var/lib/nats \
    --cluster 0.0.0.0:6222 --cluster-advertise "$host:6222" --routes "$routes" >/dev/null
  mkdir -p "$out/$name/tls"
  # As the server finds them.
  sed "s|\"$(cd "$out" && pwd)/tls/|\"/etc/nats/tls/|" "$out/$name.conf" >"$out/$name/nats-server.conf"
  mv "$out/tls/$name.pem" "$out/tls/$name.key" "$out/$name/tls/"
  cp "$out/tls/ca.pem" "$out/$name/tls/"
  rm "$out/$name.conf"
done
