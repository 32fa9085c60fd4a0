#!/usr/bin/env bash
# Mounts the data volume, if the module made one, and puts on it what must outlive the host: Docker's data (log, key,
# models, images) and the release with its .env. Run by setup.sh before Docker is installed; safe to run again.
set -euo pipefail
umask 022

CONFIG=/etc/bakeoff
PLACE=/var/lib/bakeoff
DOCKER=/var/lib/docker
CONTAINERD=/var/lib/containerd
RELEASE=/opt/bakeoff
FSTAB=/etc/fstab
UNITS=/etc/systemd/system
DEVICES=/dev
WAIT_SECONDS=300
DATA_VOLUME=""

say() { printf 'bakeoff: %s\n' "$*"; }

fail() {
  printf 'bakeoff: %s\n' "$*" >&2
  exit 1
}

# The volume's device: by its id where AWS's NVMe driver is in use, else by the name that the module attaches it under.
device() {
  local path
  for path in "$DEVICES/disk/by-id/nvme-Amazon_Elastic_Block_Store_${DATA_VOLUME/-/}" "$DEVICES/sdf" "$DEVICES/xvdf"; do
    if [ -e "$path" ]; then
      readlink -f "$path"
      return
    fi
  done
  return 1
}

# Terraform attaches the volume once the host runs.
wait_for_device() {
  local deadline=$((SECONDS + WAIT_SECONDS))
  until device; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$DATA_VOLUME is not attached to this host after $WAIT_SECONDS s: run terraform apply, then
  this again: sudo $RELEASE/terraform/host/setup.sh"
    sleep 2
  done
}

has_state_here() { [ -n "$(find "$DOCKER/volumes" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1)" ]; }

# A new EBS volume reads as zeros. Whatever else is on it, it is not formatted.
is_new() { cmp -s -n 1048576 "$1" /dev/zero; }

format() {
  command -v mkfs.ext4 >/dev/null 2>&1 || { command -v dnf >/dev/null 2>&1 && dnf install -y -q e2fsprogs; } ||
    fail "mkfs.ext4 is missing: install e2fsprogs, then run this again."
  mkfs.ext4 -q -L bakeoff-data "$1"
  say "formatted $DATA_VOLUME."
}

# nofail: a host whose volume is missing can still be reached. Docker then does not start (hold_docker_back).
add_to_fstab() {
  local uuid folder
  uuid="$(blkid -s UUID -o value "$1")"
  {
    grep -v '# bakeoff$' "$FSTAB" || [ "$?" = 1 ] # no other line
    printf 'UUID=%s %s ext4 defaults,noatime,nofail,x-systemd.growfs,x-systemd.device-timeout=2min 0 2 # bakeoff\n' "$uuid" "$PLACE"
    for folder in "$DOCKER" "$CONTAINERD" "$RELEASE"; do
      printf '%s %s none bind,nofail,x-systemd.requires-mounts-for=%s 0 0 # bakeoff\n' "$PLACE/${folder##*/}" "$folder" "$PLACE"
    done
  } >"$FSTAB.new"
  mv "$FSTAB.new" "$FSTAB"
}

# Without its volume, Docker would start with empty folders, and the stack as a new installation.
hold_docker_back() {
  local unit
  for unit in docker containerd; do
    mkdir -p "$UNITS/$unit.service.d"
    printf '[Unit]\nRequiresMountsFor=%s %s %s\n' "$DOCKER" "$CONTAINERD" "$RELEASE" >"$UNITS/$unit.service.d/bakeoff-data.conf"
  done
}

# A Docker that came with the image would go on in the folders below the mounts, and write what it knows, nothing, over
# what is on the volume. install.sh starts it again.
stop_docker() {
  local unit
  for unit in docker.socket docker.service containerd.service; do
    if systemctl is-active --quiet "$unit"; then
      systemctl stop "$unit" || fail "$unit could not be stopped, so the volume was not mounted: stop it, then run this again."
    fi
  done
}

# The release that an earlier host ran goes on; a first one is copied to the volume.
move_release() {
  local kept="$PLACE/${RELEASE##*/}"
  if [ -e "$kept" ]; then return; fi
  rm -rf "$kept.new"
  cp -a "$RELEASE" "$kept.new"
  mv "$kept.new" "$kept"
}

# bind FOLDER: the folder of the volume in its place.
bind() {
  mkdir -p "$1" "$PLACE/${1##*/}"
  mountpoint -q "$1" || mount --bind "$PLACE/${1##*/}" "$1"
}

main() {
  local found
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
  # The release is mounted last, so that a run that was interrupted is completed by the next.
  if [ -z "$DATA_VOLUME" ] || mountpoint -q "$RELEASE"; then return; fi
  if ! mountpoint -q "$DOCKER" && has_state_here; then
    fail "this host has its state in $DOCKER already, and $DATA_VOLUME would hide it: nothing was changed. See terraform/README.md,
  \"Hosts of earlier releases\"."
  fi
  found="$(wait_for_device)"
  stop_docker
  if is_new "$found"; then format "$found"; fi
  mkdir -p "$PLACE"
  mountpoint -q "$PLACE" || mount "$found" "$PLACE" ||
    fail "$DATA_VOLUME ($found) cannot be mounted; nothing on it was changed. fsck -n $found may say why."
  move_release
  # Before the mounts are in fstab: with them, a boot after an interruption completes the rest and this script ends early.
  hold_docker_back
  add_to_fstab "$found"
  systemctl daemon-reload
  bind "$DOCKER"
  bind "$CONTAINERD"
  bind "$RELEASE"
  say "the state of this host is on $DATA_VOLUME, at $PLACE."
}

main "$@"
