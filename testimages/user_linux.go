package testimages

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// envUser says that this process is the ordinary user's.
const envUser = "E4KIT_TEST_USER"

// userScript runs a program as nobody, with everything that is an argument of
// it. Where only root may open the FUSE device, which fusermount3 opens as its
// caller, it shows the device open to all, in a mount namespace of its own. What
// others have mounted meanwhile is dropped there, or their mounts would not end
// before the test. $0 is the folder for a file system with devices.
const userScript = `set -e
if ! setpriv --reuid=65534 --regid=65534 --clear-groups sh -c ': <>/dev/fuse' 2>/dev/null; then
	while read -r from dir type _; do
		case $type:$from in fuse.e4kit:*|fuseblk:/dev/loop*|ext4:/dev/loop*) umount -l "$dir" 2>/dev/null || :;; esac
	done </proc/self/mounts
	mount -t tmpfs -o mode=755,size=64k dev "$0"
	mknod -m 666 "$0/fuse" c 10 229
	mount --bind "$0/fuse" /dev/fuse
fi
exec setpriv --reuid=65534 --regid=65534 --clear-groups /proc/self/fd/3 "$@"`

// AsUser has a test run as an ordinary user who can mount with fusermount3: root
// runs it anew, in a process of nobody. It returns true where t is to go on, and
// false where it is over. env are variables for the other process.
func AsUser(t *testing.T, env ...string) bool {
	t.Helper()
	RequireTool(t, "fusermount3")
	if os.Geteuid() != 0 {
		RequireFUSE(t)
		return true
	}
	RequireTool(t, "setpriv", "mount")
	if os.Getenv(envUser) != "" {
		t.Fatal("still root")
	}
	self, err := os.Open("/proc/self/exe") // whose folder may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", userScript, Scratch(t),
		"-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=5m")
	if testing.Short() {
		cmd.Args = append(cmd.Args, "-test.short")
	}
	cmd.Env = append(append(os.Environ(), envUser+"=1", "HOME=/nonexistent", "TMPDIR=/tmp"), env...)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("as nobody: %v\n%s", err, out)
	case bytes.Contains(out, []byte("\n--- SKIP: "+t.Name()+" ")):
		t.Skipf("as nobody:\n%s", out)
	case !bytes.Contains(out, []byte("\n--- PASS: "+t.Name()+" ")):
		t.Errorf("as nobody it did not run:\n%s", out)
	default:
		t.Logf("as nobody:\n%s", out)
	}
	return false
}
