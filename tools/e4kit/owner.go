package main

import (
	"bytes"
	"io"
	"strconv"

	"github.com/e4kit/e4kit/ext4fs"
)

// owners gives numbers their names, by the image's own /etc/passwd and
// /etc/group: the host's would be wrong.
type owners struct {
	users, groups map[uint32]string
}

// maxOwnerFile bounds the account files that are read from an image.
const maxOwnerFile = 4 << 20

func readOwners(fsys *ext4fs.FS) *owners {
	return &owners{users: readAccounts(fsys, "etc/passwd"), groups: readAccounts(fsys, "etc/group")}
}

// readAccounts reads "name:x:number:..." lines. A file that is missing or
// damaged gives no names; numbers are shown then.
func readAccounts(fsys *ext4fs.FS, path string) map[uint32]string {
	names := make(map[uint32]string)
	for line := range bytes.Lines(readAccountFile(fsys, path)) {
		fields := bytes.SplitN(line, []byte(":"), 4)
		if len(fields) < 4 || len(fields[0]) == 0 {
			continue
		}
		n, err := strconv.ParseUint(string(fields[2]), 10, 32)
		if _, known := names[uint32(n)]; err == nil && !known {
			names[uint32(n)] = safeText(string(fields[0]))
		}
	}
	return names
}

// readAccountFile reads a file, nil if that is not possible.
func readAccountFile(fsys *ext4fs.FS, path string) []byte {
	inode, err := fsys.Lookup(path)
	if err != nil || !inode.IsRegular() || inode.Size() > maxOwnerFile {
		return nil
	}
	data := make([]byte, inode.Size())
	if _, err := inode.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil
	}
	return data
}

func (o *owners) user(n uint32) string {
	if name, ok := o.users[n]; ok {
		return name
	}
	return strconv.FormatUint(uint64(n), 10)
}

func (o *owners) group(n uint32) string {
	if name, ok := o.groups[n]; ok {
		return name
	}
	return strconv.FormatUint(uint64(n), 10)
}

// number finds a name, or reads a number.
func number(names map[uint32]string, s string) (uint32, bool) {
	for n, name := range names {
		if name == s {
			return n, true
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// loginGroup finds the group that /etc/passwd gives a user.
func loginGroup(fsys *ext4fs.FS, uid uint32) (gid uint32, ok bool) {
	data := readAccountFile(fsys, "etc/passwd")
	for line := range bytes.Lines(data) {
		fields := bytes.SplitN(line, []byte(":"), 5)
		if len(fields) < 5 {
			continue
		}
		n, err := strconv.ParseUint(string(fields[2]), 10, 32)
		if err != nil || uint32(n) != uid {
			continue
		}
		g, err := strconv.ParseUint(string(fields[3]), 10, 32)
		return uint32(g), err == nil
	}
	return 0, false
}
