#!/bin/sh
# Installs the programs that tests ask about ext4, when root and apt-get are
# there; says what the tests will skip otherwise. Nothing happens when all is
# there.
set -u

# program:Debian package
needed='mke2fs:e2fsprogs e2fsck:e2fsprogs debugfs:e2fsprogs dumpe2fs:e2fsprogs tune2fs:e2fsprogs fusermount3:fuse3
setfattr:attr getfattr:attr setfacl:acl getfacl:acl xz:xz-utils zstd:zstd sfdisk:fdisk
img2simg:android-sdk-libsparse-utils simg2img:android-sdk-libsparse-utils bsdtar:libarchive-tools
grub-fstest:grub-common umoci:umoci skopeo:skopeo'
PATH=$PATH:/usr/sbin:/sbin

missing() {
	for n in $needed; do
		command -v "${n%%:*}" >/dev/null 2>&1 || echo "${n##*:}"
	done | sort -u
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "setup: installing" $packages
	log=$(mktemp)
	export DEBIAN_FRONTEND=noninteractive
	install() { apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $packages >>"$log" 2>&1; }
	# Package lists may be absent or old: fetch them when the first try fails.
	if ! install; then
		apt-get update -q >>"$log" 2>&1
		install || tail -n 20 "$log" >&2
	fi
	rm -f "$log"
	packages=$(missing)
fi

for n in $needed; do
	command -v "${n%%:*}" >/dev/null 2>&1 || echo "setup: no ${n%%:*} (package ${n##*:}): tests that ask it are skipped"
done
if [ "$(uname -s)" != Linux ]; then
	echo 'setup: not Linux: no kernel mounts, tests that compare with the kernel are skipped'
else
	[ "$(id -u)" = 0 ] || echo 'setup: not root: tests that mount or make devices are skipped'
	[ -e /dev/loop-control ] || echo 'setup: no /dev/loop-control: tests that mount an image are skipped'
	[ -e /dev/fuse ] || echo 'setup: no /dev/fuse: tests that mount through FUSE are skipped'
fi
if [ -n "$packages" ] && [ "${E4KIT_REQUIRE_ORACLES:-}" = 1 ]; then
	echo 'setup: E4KIT_REQUIRE_ORACLES=1, and programs are missing' >&2
	exit 1
fi
exit 0
