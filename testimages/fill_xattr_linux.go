package testimages

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// setXattr sets an attribute; a file system that has none or no room for it is
// no error.
func (f *filler) setXattr(name, attr string, value []byte) {
	if f.err == nil {
		f.may(name, unix.Lsetxattr(f.path(name), attr, value, 0))
	}
}

// attributes sets attributes of every prefix and of many sizes, so that some
// land in the inode, some in a block of their own, some in a value inode.
func (f *filler) attributes() {
	f.mkdir("xattr/dir")
	f.file("xattr/small", 10)
	f.setXattr("xattr/small", "user.a", []byte("1"))
	f.setXattr("xattr/small", "user.empty", nil)
	f.setXattr("xattr/small", "user.binary", []byte{0, 255, '\n', ',', '='})
	f.file("xattr/prefixes", 10)
	f.setXattr("xattr/prefixes", "user.u", []byte("user value"))
	f.setXattr("xattr/prefixes", "trusted.t", []byte("trusted value"))
	f.setXattr("xattr/prefixes", "security.s", []byte("security value"))
	f.file("xattr/capability", 10)
	f.setXattr("xattr/capability", "security.capability", fileCapability(1<<10|1<<13))
	f.file("xattr/names", 10)
	f.setXattr("xattr/names", "user."+strings.Repeat("n", 250), []byte("long name"))
	f.setXattr("xattr/names", "user.caf\xc3\xa9", []byte("utf-8"))
	f.setXattr("xattr/names", "user.a,b=c d", []byte("punctuation"))
	f.setXattr("xattr/dir", "user.on-folder", Content(3, 90))
	f.file("xattr/many", 10)
	for i := range 20 {
		f.setXattr("xattr/many", fmt.Sprintf("user.key%02d", i), Content(uint64(i), i*3))
	}
	for i, n := range []int{31, 32, 33, 200, 900, f.o.BigXattr} {
		name := fmt.Sprintf("xattr/value%d", n)
		f.file(name, 10)
		f.setXattr(name, "user.value", Content(uint64(40+i), n))
	}
	// Equal attributes may share one block.
	for i := range 4 {
		name := fmt.Sprintf("xattr/shared%d", i)
		f.file(name, 10)
		f.setXattr(name, "user.shared", Content(50, 400))
	}
	f.symlink("nowhere", "xattr/symlink")
	f.setXattr("xattr/symlink", "trusted.on-symlink", []byte("x"))
}

// acls sets access and default ACLs, minimal and with named entries.
func (f *filler) acls() {
	f.mkdir("acl/dir")
	f.file("acl/file", 10)
	named := []aclEntry{{aclUserObj, 6, noID}, {aclUser, 7, 1000}, {aclUser, 4, 4_000_000_000}, {aclGroupObj, 4, noID},
		{aclGroup, 5, 2000}, {aclMask, 7, noID}, {aclOther, 4, noID}}
	f.setXattr("acl/file", "system.posix_acl_access", encodeACL(named))
	f.setXattr("acl/dir", "system.posix_acl_access", encodeACL(named))
	f.setXattr("acl/dir", "system.posix_acl_default", encodeACL([]aclEntry{{aclUserObj, 7, noID}, {aclGroupObj, 5, noID}, {aclOther, 0, noID}}))
	f.file("acl/dir/inherits", 10)
	f.mkdir("acl/dir/inherits-too")
}

const (
	aclUserObj  = 1
	aclUser     = 2
	aclGroupObj = 4
	aclGroup    = 8
	aclMask     = 16
	aclOther    = 32
	noID        = 0xffffffff
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// encodeACL gives the form of the xattr system calls.
func encodeACL(entries []aclEntry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// fileCapability gives a version 2 security.capability value that permits caps.
func fileCapability(caps uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000001) // revision 2, effective
	for _, w := range []uint32{uint32(caps), 0, uint32(caps >> 32), 0} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}
