//go:build !386

package mount

import (
	"os"
	"slices"
	"strconv"
	"strings"

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
	ids := statusIDs(c.Pid, "Uid:") // real, effective, saved, and that of file systems
	if len(ids) != 4 {
		return unknownID
	}
	return ids[3]
}

// inGroup reports whether the caller is a member of the group, as far as that can
// be found out: of his groups the kernel tells one at most.
func inGroup(c *fuse.Caller, gid uint32) bool {
	if c.Gid == gid || c.Pid == 0 {
		return true
	}
	own := statusIDs(c.Pid, "Gid:")
	return len(own) != 4 || own[3] == gid || slices.Contains(statusIDs(c.Pid, "Groups:"), gid)
}

// statusIDs reads a line of a process's status. The process waits for an answer,
// so that the number is still its own.
func statusIDs(pid uint32, name string) []uint32 {
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		rest, found := strings.CutPrefix(line, name)
		if !found {
			continue
		}
		var ids []uint32
		for _, f := range strings.Fields(rest) {
			id, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				return nil
			}
			ids = append(ids, uint32(id))
		}
		return ids
	}
	return nil
}
