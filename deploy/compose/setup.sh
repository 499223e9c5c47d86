#!/bin/sh
# What the services of compose.yaml cannot make themselves: the configurations of
# the three NATS servers, the credentials that each part uses, and certificates.
# Run again it keeps the keys and the authorities, and makes certificates anew: do so
# after an update and once a year, as upgrade.md says.
#
# Each folder is a volume, and each service sees its own. ROOT is for trying it elsewhere.
set -eu
root=${ROOT:-}
umask 077

routes=nats-1:6222,nats-2:6222,nats-3:6222
for n in 1 2 3; do
  usher bus config --out "$root/bus" --name nats-$n --tags zone:$n --tls-make \
    --listen 0.0.0.0:4222 --advertise nats-$n:4222 --http 127.0.0.1:8222 --store "$root/bus/data" \
    --cluster 0.0.0.0:6222 --cluster-advertise nats-$n:6222 --routes $routes >/dev/null
  # Its volume is mounted as /bus, as the configuration says.
  mkdir -p "$root/nats-$n/tls" "$root/nats-$n/data"
  cp "$root/bus/nats-$n.conf" "$root/nats-$n/"
  cp "$root/bus/tls/ca.pem" "$root/bus/tls/nats-$n.pem" "$root/bus/tls/nats-$n.key" "$root/nats-$n/tls/"
done

for part in api session hooks console; do
  usher bus credentials "$part" --from "$root/bus/creds" --out "$root/$part/creds"
  cp "$root/bus/tls/ca.pem" "$root/$part/"
done

# An authority of this system's own, kept beside the keys of the bus: who runs with a
# certificate that it signed before is believed until it takes the new one.
authority=$root/bus/authority
mkdir -p "$authority"
[ -f "$authority/ca.pem" ] || {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3660 -subj "/CN=Usher compose" \
    -keyout "$authority/ca.key" -out "$authority/ca.new" 2>/dev/null
  mv "$authority/ca.new" "$authority/ca.pem"
}
requests=$(mktemp -d)
trap 'rm -rf "$requests"' EXIT

# sign FOLDER NAME SUBJECT_ALTERNATIVES: FOLDER/NAME.pem and .key
sign() {
  mkdir -p "$1"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
    -keyout "$1/$2.key" -out "$requests/$2.csr" 2>/dev/null
  printf 'subjectAltName=%s\n' "$3" >"$requests/$2.ext"
  openssl x509 -req -days 365 -in "$requests/$2.csr" -CA "$authority/ca.pem" -CAkey "$authority/ca.key" -CAcreateserial -CAserial "$requests/serial" \
    -extfile "$requests/$2.ext" -out "$1/$2.pem" 2>/dev/null
  cp "$authority/ca.pem" "$1/"
}
sign "$root/front" localhost "DNS:localhost,IP:127.0.0.1"
sign "$root/postgres" postgres "DNS:postgres"
for part in api session hooks console; do
  cp "$authority/ca.pem" "$root/$part/postgres.pem"
done
