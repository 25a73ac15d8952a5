package xattr

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestACLText(t *testing.T) {
	const none = disk.ACLNoID
	access := []disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 7, ID: none}, {Tag: disk.ACLUser, Perm: 7, ID: 1000}, {Tag: disk.ACLUser, Perm: 5, ID: 12345678},
		{Tag: disk.ACLGroupObj, Perm: 5, ID: none}, {Tag: disk.ACLGroup, Perm: 5, ID: 2000}, {Tag: disk.ACLMask, Perm: 4, ID: none}, {Tag: disk.ACLOther, Perm: 4, ID: none},
	}
	def := []disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 7, ID: none}, {Tag: disk.ACLUser, Perm: 1, ID: 1}, {Tag: disk.ACLUser, Perm: 7, ID: 5},
		{Tag: disk.ACLGroupObj, Perm: 7, ID: none}, {Tag: disk.ACLMask, Perm: 5, ID: none}, {Tag: disk.ACLOther, Perm: 5, ID: none},
	}
	names := Names{
		User:  func(id uint32) string { return map[uint32]string{0: "root", 1: "daemon", 5: "games"}[id] },
		Group: func(id uint32) string { return map[uint32]string{0: "root", 2000: "a b"}[id] },
	}
	for _, tt := range []struct {
		file        ACLFile
		access, def []disk.ACLEntry
		names       Names
		want        string
	}{
		// As getfacl 2.3.1 prints them.
		{ACLFile{Path: "f", Mode: 0o754 | fs.ModeSetuid | fs.ModeSetgid}, access, nil, Names{}, `# file: f
# owner: 0
# group: 0
# flags: ss-
user::rwx
user:1000:rwx	#effective:r--
user:12345678:r-x	#effective:r--
group::r-x	#effective:r--
group:2000:r-x	#effective:r--
mask::r--
other::r--

`},
		{ACLFile{Path: "d", Mode: 0o775 | fs.ModeDir | fs.ModeSetgid | fs.ModeSticky}, nil, def, names, `# file: d
# owner: root
# group: root
# flags: -st
user::rwx
group::rwx
other::r-x
default:user::rwx
default:user:daemon:--x
default:user:games:rwx	#effective:r-x
default:group::rwx	#effective:r-x
default:mask::r-x
default:other::r-x

`},
		{ACLFile{Path: "a\nb \\c", UID: 7, GID: 2000}, nil, nil, names, `# file: a\012b \\c
# owner: 7
# group: a\040b
user::---
group::---
other::---

`},
	} {
		if got := ACLText(tt.file, tt.access, tt.def, tt.names); got != tt.want {
			t.Errorf("got\n%swant\n%s", got, tt.want)
		}
	}
	if got := EntriesText("default:", []disk.ACLEntry{{Tag: 0x40, Perm: 1, ID: 5}}, Names{}); got != "default:0x40:5:--x\n" {
		t.Errorf("%q", got)
	}
}

// Values that setcap wrote, and what getcap -n says of them.
func TestCapability(t *testing.T) {
	for _, tt := range []struct{ hex, want string }{
		{"0100000200200000000000000000000000000000", "cap_net_raw=ep"},
		{"0000000200200000000000000000000000000000", "cap_net_raw=p"},
		{"01000002ffffffff00000000ff01000000000000", "=ep"},
		{"0100000200200000002000000000000000000000", "cap_net_raw=eip"},
		{"00000002a0000000810000000000000000000000", "cap_setuid=ip cap_chown+i cap_kill+p"},
		{"01000002feffffffffffffffff010000ff010000", "=eip cap_chown-p"},
		{"00000002ffffffff00000000ff01000000000000", "=p"},
		{"0100000200000000010000000000000000000000", "cap_chown=ei"},
		{"0100000320000000000000000000000000000000e8030000", "cap_kill=ep [rootid=1000]"},
		{"000000010100000002000000", "cap_dac_override=i cap_chown+p"},
		{"0000000200000000000000000000000000000000", "="},
		// as many with i as with nothing: 19 of each, 3 with p
		{"0000000207000000f8ff3f000000000000000000", "cap_fowner,cap_fsetid,cap_kill,cap_setgid,cap_setuid,cap_setpcap,cap_linux_immutable,cap_net_bind_service," +
			"cap_net_broadcast,cap_net_admin,cap_net_raw,cap_ipc_lock,cap_ipc_owner,cap_sys_module,cap_sys_rawio," +
			"cap_sys_chroot,cap_sys_ptrace,cap_sys_pacct,cap_sys_admin=i cap_chown,cap_dac_override,cap_dac_read_search+p"},
	} {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		c, err := DecodeCapability(b)
		if err != nil || c.String() != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.hex, c, err, tt.want)
		}
		if got := hex.EncodeToString(c.Encode()); got != tt.hex {
			t.Errorf("%s becomes %s", tt.hex, got)
		}
	}
	c := Capability{Revision: 2, Permitted: 1<<63 | 1}
	if got := c.String(); got != "cap_chown,63=p" {
		t.Errorf("%q", got)
	}
	again, err := DecodeCapability(c.Encode())
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("%+v, %v", again, err)
	}
	for _, s := range []string{"", "000002", "00000000", "00000004ffffffff00000000ff01000000000000", "00000002", "000000030100000002000000",
		"000000010100000002000000ff"} {
		b, _ := hex.DecodeString(s)
		if c, err := DecodeCapability(b); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: %+v, %v", s, c, err)
		}
	}
}
