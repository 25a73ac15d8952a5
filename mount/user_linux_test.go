package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// An ordinary user mounts with fusermount3, and is one in the mount as well.
func TestOrdinaryUser(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck", "cp", "rm")
	if !testimages.AsUser(t) {
		return
	}
	for _, tt := range []struct {
		name string
		f    func(t *testing.T)
	}{
		{"tree", userTree}, {"owners", userOwners}, {"refused", userRefused}, {"ends", userEnds},
	} {
		t.Run(tt.name, tt.f)
	}
}

// owned makes an image whose root directory belongs to the user.
func owned(t *testing.T) string {
	t.Helper()
	return fresh(t, 64<<20, "-E", "root_owner")
}

// userMount is start for who is not root.
func userMount(t *testing.T, img, opts string) *served {
	t.Helper()
	s, line := launch(t, img, opts)
	if line != "ready" {
		t.Fatalf("mount %s: %s\n%s", img, line, &s.errs)
	}
	return s
}

// userTree: what cp -a takes in, cp -a gives back, and the image has it.
func userTree(t *testing.T) {
	from := testimages.Scratch(t)
	must(t, "fill", userFill(from))
	want, err := testimages.ManifestDir(from)
	must(t, "manifest", err)
	s := userMount(t, owned(t), "")
	testimages.Run(t, "cp", "-a", from, s.path("in"))
	must(t, "copied in", testimages.SameManifest(want, s.path("in")))
	out := testimages.Scratch(t)
	testimages.Run(t, "cp", "-a", s.path("in"), out+"/out")
	must(t, "copied out", testimages.SameManifest(want, out+"/out"))
	testimages.Run(t, "rm", "-rf", s.path("in/links"))
	seen, err := testimages.ManifestDir(s.path("in"))
	must(t, "manifest", err)
	s.stop()
	if d := testimages.Diff(seen, manifestAt(t, s.img, "/in")); d != "" {
		t.Errorf("the mount and then the image:\n%s", d)
	}
}

// userFill makes what users make.
func userFill(dir string) error {
	script := `set -e
mkdir -p a/b/c links "odd
name" && : >a/empty
for n in 1 4095 4096 4097 70000 1048577; do head -c $n </dev/urandom >a/b/$n; done
truncate -s 3000000 a/holes && printf end >>a/holes
for i in $(seq 300); do : >a/b/c/name-$i; done
ln a/empty links/hard && ln -s ../a/b links/soft && ln -s "$(printf %0200d 7)" links/long
mkfifo links/pipe && chmod 640 a/b/1 && chmod 4711 a/b/4095 && chmod 2750 a && chmod 1777 links
touch -d @1000000000.123456789 a/b/1 && touch -h -d @5 links/soft
setfattr -n user.some -v value a/b/1 2>/dev/null || :`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	return cmd.Run()
}

// userOwners: what is new is the user's, and what is others' is theirs.
func userOwners(t *testing.T) {
	s := userMount(t, owned(t), "")
	write(t, s.path("f"), 0o6755)
	st := stat(t, s.path("f"))
	if int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
		t.Errorf("a new file belongs to %d:%d", st.Uid, st.Gid)
	}
	check(t, "chown to another", os.Chown(s.path("f"), 0, -1), unix.EPERM)
	check(t, "chgrp to another", os.Chown(s.path("f"), -1, 0), unix.EPERM)
	check(t, "mknod", unix.Mknod(s.path("dev"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), unix.EPERM)
	_, err := os.ReadDir(s.path("lost+found"))
	check(t, "a directory of root", err, unix.EACCES)
	check(t, "trusted attributes", unix.Setxattr(s.path("f"), "trusted.a", nil, 0), unix.EPERM)
	check(t, "immutable", os.Chmod(s.path("lost+found"), 0o777), unix.EPERM)
	var fs unix.Statfs_t
	must(t, "statfs", unix.Statfs(s.dir, &fs))
	if fs.Flags&(unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_NOSUID|unix.ST_NODEV {
		t.Errorf("programs and devices of the image count: %#x", fs.Flags)
	}
	s.stop()

	// The root directory is root's.
	s = userMount(t, fresh(t, 16<<20), "")
	check(t, "create", os.WriteFile(s.path("f"), nil, 0o644), unix.EACCES)
	s.stop()

	// Unless everything is shown as the user's.
	s = userMount(t, s.img, fmt.Sprintf("fakeroot,uid=%d,gid=%d", os.Getuid(), os.Getgid()))
	write(t, s.path("f"), 0o644)
	st = stat(t, s.path("lost+found"))
	if int(st.Uid) != os.Getuid() {
		t.Errorf("lost+found is shown as %d's", st.Uid)
	}
	s.stop()
}

// userRefused: what may not be is said.
func userRefused(t *testing.T) {
	img := owned(t)
	conf, _ := os.ReadFile("/etc/fuse.conf")
	if !strings.Contains("\n"+string(conf), "\nuser_allow_other") {
		if _, line := launch(t, img, "allow_other"); !strings.HasPrefix(line, "error: ") || !strings.Contains(line, "fuse.conf") {
			t.Errorf("allow_other: %s", line)
		}
	}
	other := testimages.Scratch(t)
	must(t, "chmod", os.Chmod(other, 0o555))
	if _, line := launchAt(t, img, other, ""); !strings.HasPrefix(line, "error: ") || !strings.Contains(line, "no write access to mountpoint") {
		t.Errorf("a mountpoint that is closed: %s", line)
	}
	must(t, "chmod", os.Chmod(img, 0o444))
	if _, line := launch(t, img, ""); !strings.HasPrefix(line, "error: ") || !strings.Contains(line, "permission denied") {
		t.Errorf("an image that cannot be written: %s", line)
	}
	s := userMount(t, img, "ro")
	check(t, "create", os.WriteFile(s.path("f"), nil, 0o644), unix.EROFS)
	s.stop()
	testimages.Fsck(t, img)
}

// userEnds: every way to end a mount.
func userEnds(t *testing.T) {
	s := userMount(t, owned(t), "")
	write(t, s.path("f"), 0o644)
	f, err := os.Open(s.path("f"))
	must(t, "open", err)
	check(t, "in use", s.unmount(0), unix.EBUSY)
	f.Close()
	must(t, "asked", s.in.Close())
	s.ended()

	s = userMount(t, s.img, "")
	write(t, s.path("g"), 0o644)
	must(t, "lazy", s.unmount(unix.MNT_DETACH))
	s.ended()

	s = userMount(t, s.img, "")
	write(t, s.path("h"), 0o644)
	s.kill()
	if _, err := os.ReadDir(s.dir); err != nil {
		t.Errorf("the dead mount is still there: %v", err)
	}
	s = userMount(t, s.img, "")
	if list, err := filepath.Glob(s.path("[fg]")); len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	s.stop()
}
