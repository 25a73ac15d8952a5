package testimages

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// shmDir is a tmpfs on Linux: images there cost no disk writes.
const shmDir = "/dev/shm"

// shmRoom is the free space below which [shmDir] is left alone.
const shmRoom = 2 << 30

// root is the one folder of this process under which every scratch file,
// cached image and mount point lies.
var root struct {
	once   sync.Once
	dir    string
	err    error
	keeper io.Closer // write end of the keeper's pipe, held until exit
}

// scratchRoot makes the folder of this process, and the keeper that removes it.
func scratchRoot() (string, error) {
	root.once.Do(func() {
		base := os.TempDir()
		if freeBytes(shmDir) >= shmRoom {
			base = shmDir
		}
		if root.dir, root.err = os.MkdirTemp(base, "e4kit-test-"); root.err != nil {
			return
		}
		// Mounted trees belong to root; others need not look in.
		if root.err = os.Chmod(root.dir, 0o755); root.err != nil {
			return
		}
		root.keeper, root.err = startKeeper(root.dir)
	})
	return root.dir, root.err
}

// keeperScript waits until its standard input closes, which happens when the
// process that holds the other end exits in any way, then takes down mounts
// below the folder $0 and removes it. A test binary has no hook of its own for
// a timeout or a kill.
const keeperScript = `trap '' INT TERM HUP QUIT
cat >/dev/null
while read -r _ dir _; do
	case $dir in "$0"/*) umount -l "$dir";; esac
done </proc/self/mounts
rm -rf --one-file-system "$0"`

func startKeeper(dir string) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return nil, nil // no mounts there; the system cleans its temporary folder
	}
	cmd := exec.Command("/bin/sh", "-c", keeperScript, dir)
	cmd.Dir = "/"
	detach(cmd)
	w, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	return w, nil
}

// Scratch returns a fresh folder for t, on a tmpfs where there is room, which
// is removed at the end of t.
func Scratch(t testing.TB) string {
	t.Helper()
	dir, err := scratchDir("t-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove scratch folder: %v", err)
		}
	})
	return dir
}

// scratchDir makes a folder that lives until it is removed or the process ends.
func scratchDir(prefix string) (string, error) {
	top, err := scratchRoot()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(top, prefix)
}

// Copy copies the image img to a new file in the scratch folder of t, holes
// kept, for a test that changes it.
func Copy(t testing.TB, img string) string {
	t.Helper()
	to := filepath.Join(Scratch(t), filepath.Base(img))
	if err := CopyFile(to, img); err != nil {
		t.Fatal(err)
	}
	return to
}
