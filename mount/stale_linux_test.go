package mount_test

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// A write that takes set-id bits away is known to the kernel at once, also to
// what does not ask for attributes first: links to set-id files are refused
// where fs.protected_hardlinks is on.
func TestSetIDGoneAtOnce(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "allow_other,default_permissions")
	linkAfterWrite(t, s.dir)
	s.stop()
}

func TestSetIDGoneAtOnceKernel(t *testing.T) {
	testimages.WithMount(t, fresh(t, 16<<20), "", func(dir string) { linkAfterWrite(t, dir) })
}

func linkAfterWrite(t *testing.T, dir string) {
	must(t, "chmod", os.Chmod(dir, 0o777))
	write(t, dir+"/f", 0o777)
	must(t, "chmod", unix.Chmod(dir+"/f", 0o6777))
	runtime.LockOSThread() // for the user that the file system sees
	defer runtime.UnlockOSThread()
	unix.Setfsuid(65534)
	defer unix.Setfsuid(0)
	f, err := os.OpenFile(dir+"/f", os.O_WRONLY, 0)
	must(t, "open", err)
	defer f.Close()
	_, err = f.WriteString("x")
	must(t, "write", err)
	check(t, "link", os.Link(dir+"/f", dir+"/g"), nil)
	if st := stat(t, dir+"/g"); st.Mode&0o7777 != 0o777 {
		t.Errorf("the mode is %o", st.Mode)
	}
}
