#!/bin/sh
# Unpack Exim and OpenSMTPD, which exclude Postfix as Debian packages, beside one another in .cache/servers/root, and
# install Haraka from npm in .cache/servers/haraka.
# Needs apt-get with current package lists, and npm. Does nothing when it has been done; FORCE=1 does it again.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
cache="$here/.cache/servers"
stamp="$cache/unpacked"

servers="exim4-daemon-light exim4-base opensmtpd"
# Libraries that they want and that a small system may lack. Names differ between releases: what is not there is left out.
libraries="libidn12 libgnutls-dane0 libunbound8 libnsl2 libtirpc3 libdb5.3 libevent-2.1-7 libpcre2-8-0 libidn2-0"

if [ ! -e "$cache/haraka/installed" ] || [ -n "${FORCE:-}" ]; then
    mkdir -p "$cache/haraka"
    npm install --prefix "$cache/haraka" --no-audit --no-fund --omit=optional --silent "Haraka@3.3.4"
    touch "$cache/haraka/installed"
    echo "servers: Haraka installed in $cache/haraka"
fi

if [ -e "$stamp" ] && [ -z "${FORCE:-}" ]; then
    echo "servers: unpacked in $cache/root"
    exit 0
fi

mkdir -p "$cache/packages" "$cache/root"
cd "$cache/packages"
# shellcheck disable=SC2086 # a list of words
apt-get -q -o APT::Sandbox::User=root download $servers
for library in $libraries; do
    apt-get -q -o APT::Sandbox::User=root download "$library" || echo "servers: no package $library here"
done
for package in *.deb; do
    dpkg -x "$package" "$cache/root"
done
touch "$stamp"
echo "servers: unpacked in $cache/root"
