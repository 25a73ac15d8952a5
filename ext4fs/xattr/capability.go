package xattr

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Capability is the value of security.capability: what a program may do when
// it is started from this file. The value is little-endian:
//
//	le32 revision<<24 | 1 if effective
//	le32 permitted, inheritable     revision 1: once; 2 and 3: twice, low first
//	le32 user id of the name space  revision 3
type Capability struct {
	Revision    int // 1 to 3
	Effective   bool
	Permitted   uint64
	Inheritable uint64
	RootID      uint32 // of revision 3
}

// capSizes are the lengths of the value by revision.
var capSizes = [...]int{1: 12, 2: 20, 3: 24}

// DecodeCapability reads the value of security.capability. Trouble is a
// *disk.CorruptError without block and inode.
func DecodeCapability(b []byte) (Capability, error) {
	le := binary.LittleEndian
	if len(b) < 4 {
		return Capability{}, capError("%d bytes", len(b))
	}
	word := le.Uint32(b)
	c := Capability{Revision: int(word >> 24), Effective: word&1 != 0}
	switch {
	case c.Revision < 1 || c.Revision >= len(capSizes):
		return Capability{}, capError("revision %d", c.Revision)
	case len(b) != capSizes[c.Revision]:
		return Capability{}, capError("%d bytes for revision %d", len(b), c.Revision)
	}
	c.Permitted, c.Inheritable = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:]))
	if c.Revision > 1 {
		c.Permitted |= uint64(le.Uint32(b[12:])) << 32
		c.Inheritable |= uint64(le.Uint32(b[16:])) << 32
	}
	if c.Revision > 2 {
		c.RootID = le.Uint32(b[20:])
	}
	return c, nil
}

// Encode gives the value. Bits that a revision 1 has no place for are lost.
func (c Capability) Encode() []byte {
	le := binary.LittleEndian
	word := uint32(c.Revision) << 24
	if c.Effective {
		word |= 1
	}
	b := le.AppendUint32(nil, word)
	b = le.AppendUint32(b, uint32(c.Permitted))
	b = le.AppendUint32(b, uint32(c.Inheritable))
	if c.Revision > 1 {
		b = le.AppendUint32(b, uint32(c.Permitted>>32))
		b = le.AppendUint32(b, uint32(c.Inheritable>>32))
	}
	if c.Revision > 2 {
		b = le.AppendUint32(b, c.RootID)
	}
	return b
}

// What a capability may be; a set of these is printed as letters.
const (
	capE = 1 << iota
	capP
	capI
)

// String is what getcap -n prints after the file's name.
func (c Capability) String() string {
	var count [capI << 1]int
	known := max(len(capNames), bits.Len64(c.Permitted|c.Inheritable))
	for n := range known {
		count[c.state(n)]++
	}
	// The state of most capabilities is said first and for all of them; of two
	// as frequent the lesser, as getcap does.
	base := len(count) - 1
	for s := base; s >= 0; s-- {
		if count[s] >= count[base] {
			base = s
		}
	}
	var out []string
	if base != 0 || count[0] == known {
		out = append(out, "="+stateText(base))
	}
	for s := len(count) - 1; s >= 0; s-- {
		if s == base || count[s] == 0 {
			continue
		}
		out = append(out, c.clause(s, base, known, len(out) == 0))
	}
	if c.Revision == 3 {
		out = append(out, fmt.Sprintf("[rootid=%d]", c.RootID))
	}
	return strings.Join(out, " ")
}

// clause names the capabilities in state s and how that differs from base.
func (c Capability) clause(s, base, known int, first bool) string {
	var names []string
	for n := range known {
		if c.state(n) == s {
			names = append(names, capName(n))
		}
	}
	t := strings.Join(names, ",")
	if first {
		return t + "=" + stateText(s)
	}
	if add := s &^ base; add != 0 {
		t += "+" + stateText(add)
	}
	if drop := base &^ s; drop != 0 {
		t += "-" + stateText(drop)
	}
	return t
}

func (c Capability) state(n int) int {
	s := 0
	if c.Permitted>>n&1 != 0 {
		s |= capP
	}
	if c.Inheritable>>n&1 != 0 {
		s |= capI
	}
	if s != 0 && c.Effective {
		s |= capE
	}
	return s
}

func stateText(s int) string {
	t := ""
	if s&capE != 0 {
		t += "e"
	}
	if s&capI != 0 {
		t += "i"
	}
	if s&capP != 0 {
		t += "p"
	}
	return t
}

func capName(n int) string {
	if n < len(capNames) {
		return "cap_" + capNames[n]
	}
	return strconv.Itoa(n)
}

var capNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore",
}

func capError(format string, args ...any) error {
	return &disk.CorruptError{What: "security.capability", Detail: fmt.Sprintf(format, args...)}
}
