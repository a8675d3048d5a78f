#!/bin/sh
# Installs the system packages that Diskyard, its demo and its tests need. Run by `make setup`; safe to run again.
set -eu

PACKAGES="
  bubblewrap nbdkit qemu-utils qemu-system-x86 qemu-system-common seabios ovmf
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-dev libvirt-clients
  nginx-light syslinux syslinux-common syslinux-utils extlinux mtools dosfstools fdisk
  swtpm swtpm-tools
  busybox-static cpio gzip bzip2 xz-utils gnupg gpgv
  docker-registry skopeo
  xfsprogs
  dropbear-bin openssh-client
  iproute2 nftables procps gcc pkg-config python3-dev python3-venv
  chromium
"

missing=""
for package in $PACKAGES; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "packages.sh: this is not a Debian system. Install the equivalents of:$missing" >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "packages.sh: run as root, or install sudo, to install:$missing" >&2; exit 1; }
  sudo="sudo"
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
