//go:build !386

package mount

import (
	"bytes"
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// unknownID is the caller's id where the kernel does not tell it: with
// Options.IDMap it does so only where something is made, since what the id is
// depends on the mount that the caller came by.
const unknownID = 1<<32 - 1

// callerUID is the user id of who asks, unknownID if that cannot be found out.
func callerUID(c *fuse.Caller) uint32 {
	if c.Uid != unknownID || c.Pid == 0 { // 0 is somebody whom our /proc does not show
		return c.Uid
	}
	// He waits for the answer, so that the number is still his.
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(c.Pid), 10) + "/status")
	if err != nil {
		return unknownID
	}
	for line := range bytes.Lines(status) {
		rest, found := bytes.CutPrefix(line, []byte("Uid:"))
		if !found {
			continue
		}
		ids := bytes.Fields(rest) // real, effective, saved, and that of file systems
		if len(ids) != 4 {
			return unknownID
		}
		id, err := strconv.ParseUint(string(ids[3]), 10, 32)
		if err != nil {
			return unknownID
		}
		return uint32(id)
	}
	return unknownID
}
