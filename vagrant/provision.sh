#!/usr/bin/env bash
# usage: provision.sh KERNEL_VERSION
# Runs the README's two commands as root on a fresh machine: the tests, then the sensor with its demo.
set -euo pipefail
version=$1
case "$(uname -r)" in
  "$version".*) ;;
  *) echo "kernel $version is wanted, $(uname -r) runs" >&2; exit 1 ;;
esac
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends ca-certificates curl gcc libc6-dev git
if [ ! -x "$HOME/.cargo/bin/cargo" ]; then
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain 1.95 --component clippy,rustfmt
fi
. "$HOME/.cargo/env"
cd /home/vagrant/keywitness
cargo xtask test
# Time for a release build and some calls; 124: the time is over and the sensor has been told to end.
timeout --signal=INT 900 cargo xtask run --demo || [ $? -eq 124 ]
