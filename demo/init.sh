#!/bin/sh
# The demo guest's first and only program: says who it is on the serial console, then gives a shell.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
echo 1 > /proc/sys/kernel/printk

load() { for module in "$@"; do insmod "/modules/$module.ko" 2>/dev/null; done; }
load @BLOCK_MODULES@

disk=""
tries=0
while [ -z "$disk" ] && [ "$tries" -lt 50 ]; do
  for device in vda sda; do [ -b "/dev/$device" ] && disk="/dev/$device"; done
  [ -n "$disk" ] || sleep 0.1
  tries=$((tries + 1))
done

memory=$(($(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
echo
echo "  Hello from a guest of Diskyard."
echo
echo "  kernel   $(uname -r)"
echo "  memory   $memory MiB, $(nproc) CPU"
if [ -n "$disk" ]; then
  echo "  disk     $disk, $(($(cat "/sys/block/${disk#/dev/}/size") / 2048)) MiB"
  echo "  sha256   $(head -c @HEAD@ "$disk" | sha256sum | cut -d' ' -f1) (its first @HEAD_MIB@ MiB)"
else
  echo "  disk     none found"
fi
echo "  up       $(cut -d' ' -f1 /proc/uptime) seconds"
echo
load @LATER_MODULES@
@EXTRA@

# The power button, which is how libvirt asks a guest to stop.
mkdir -p /etc/acpi/PWRF
printf '#!/bin/sh\necho "Power button pressed: good night." > /dev/console\npoweroff -f\n' > /etc/acpi/PWRF/00000080
chmod 0755 /etc/acpi/PWRF/00000080
acpid -l /dev/null -p /tmp/acpid.pid 2>/dev/null
tries=0
until [ -s /tmp/acpid.pid ] || [ "$tries" -ge 20 ]; do sleep 0.1; tries=$((tries + 1)); done

echo 'alias poweroff="poweroff -f" reboot="reboot -f"' > /etc/aliases
export HOME=/ ENV=/etc/aliases PS1='guest# '
echo "This is a shell; 'poweroff' ends it."
while true; do setsid cttyhack sh; done
