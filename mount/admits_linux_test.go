package mount

import (
	"os"
	"testing"

	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// All of root's rights are asked of the caller, as the user whom he acts for: a
// thread of the kernel has all of them, whomever it serves.
func TestAdmits(t *testing.T) {
	testimages.RequireRoot(t)
	pid := uint32(os.Getpid())
	for _, c := range []struct {
		who  string
		uid  uint32
		pid  uint32
		want bool
	}{
		{"root", 0, pid, machineRoot()},
		{"root for a user", 1000, pid, false},
		{"root for whom the kernel hides", unknownID, pid, false},
		{"a process that our /proc does not show", 0, 0, false},
		{"a process that is gone", 0, 1<<22 + 1, false}, // above the highest number that there can be
	} {
		if got := admits(&fuse.Caller{Owner: fuse.Owner{Uid: c.uid}, Pid: c.pid}); got != c.want {
			t.Errorf("%s: %v", c.who, got)
		}
	}
}
