#!/usr/bin/env bash
# usage: kernel.sh PACKAGE SUITE
# Installs another kernel from a suite of the mirror that apt already uses; Vagrant reboots into it.
set -euo pipefail
package=$1 suite=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
echo "deb $mirror $suite main" >/etc/apt/sources.list.d/kernel.list
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --target-release "$suite" "$package"
