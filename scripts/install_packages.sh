# Sourced by demo.sh and test.sh: installs what is missing on Debian 12 (needs root or sudo).
# shellcheck shell=bash

# Everything that building and testing need; `dpkg -s` decides what is missing.
packages=(build-essential cmake ninja-build pkg-config libdnnl-dev libprotobuf-c-dev
          libprotobuf-dev protobuf-c-compiler liblmdb-dev libjansson-dev libexpat1-dev libturbojpeg0-dev libpng-dev zlib1g-dev
          libhdf5-dev libleveldb-dev nettle-dev liblapack-dev)
test_packages=(libcmocka-dev protobuf-compiler python3-numpy python3-protobuf python3-pytest python3-pil
               fish zsh chromium)

install_missing() {
    local missing=()
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing: ${missing[*]}"
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "${missing[@]}" >/dev/null
}
