package disk

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"
)

// What every setter writes, by offset in the record.
func TestInode_settersGolden(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(i Inode)
		want map[int]string
	}{
		"mode":       {func(i Inode) { i.SetMode(0o100644) }, map[int]string{0x00: "a481"}},
		"uid":        {func(i Inode) { i.SetUID(0x12345678) }, map[int]string{0x02: "7856", 0x78: "3412"}},
		"gid":        {func(i Inode) { i.SetGID(0x12345678) }, map[int]string{0x18: "7856", 0x7a: "3412"}},
		"size":       {func(i Inode) { i.SetSize(0x1122334455667788) }, map[int]string{0x04: "88776655", 0x6c: "44332211"}},
		"flags":      {func(i Inode) { i.SetFlags(FlagExtents | FlagSync) }, map[int]string{0x20: "08000800"}},
		"generation": {func(i Inode) { i.SetGeneration(0xcafebabe) }, map[int]string{0x64: "bebafeca"}},
		"dtime":      {func(i Inode) { i.SetDeletionTime(0x01020304) }, map[int]string{0x14: "04030201"}},
		"acl":        {func(i Inode) { i.SetFileACL(0x123456789abc, true) }, map[int]string{0x68: "bc9a7856", 0x76: "3412"}},
		"acl narrow": {func(i Inode) { i.SetFileACL(0x56789abc, false) }, map[int]string{0x68: "bc9a7856"}},
		"version":    {func(i Inode) { i.SetVersion(0x1122334455667788) }, map[int]string{0x24: "88776655", 0x98: "44332211"}},
		"project":    {func(i Inode) { i.SetProject(0x11223344) }, map[int]string{0x9c: "44332211"}},
		"atime":      {func(i Inode) { i.SetAtime(time.Unix(1<<32+7, 3)) }, map[int]string{0x08: "07000000", 0x8c: "0d000000"}},
		"ctime":      {func(i Inode) { i.SetCtime(time.Unix(-1<<31, 9)) }, map[int]string{0x0c: "00000080", 0x84: "00000000"}},
		"mtime":      {func(i Inode) { i.SetMtime(time.Unix(1<<31, 999999999)) }, map[int]string{0x10: "00000080", 0x88: "fd276bee"}},
		"crtime":     {func(i Inode) { i.SetCrtime(time.Unix(1<<35, 1)) }, map[int]string{0x90: "ffffff7f", 0x94: "03000000"}},
		"device":     {func(i Inode) { i.SetDevice(8, 1) }, map[int]string{0x28: "0108000000000000"}},
		"wide dev":   {func(i Inode) { i.SetDevice(0xabc, 0xf1234) }, map[int]string{0x28: "0000000034bc2af1"}},
		"raw times":  {func(i Inode) { i.SetRawTimes(1, 2, 3) }, map[int]string{0x08: "010000000200000003000000"}},
		"ea refs":    {func(i Inode) { i.SetEARefs(0x500000006) }, map[int]string{0x0c: "05000000", 0x24: "06000000"}},
		"ea hash":    {func(i Inode) { i.SetEAHash(0x80000001) }, map[int]string{0x08: "01000080", 0x8c: "01000000"}},
		"sectors":    {func(i Inode) { i.SetSectors(1<<40, true, 4096) }, map[int]string{0x1c: "00000000", 0x74: "0001"}},
		"huge":       {func(i Inode) { i.SetSectors(1<<50, true, 4096) }, map[int]string{0x1c: "00000000", 0x74: "0080", 0x20: "00000400"}},
	} {
		i, want := NewInode(256, 32), NewInode(256, 32)
		c.set(i)
		for off, text := range c.want {
			b, _ := hex.DecodeString(text)
			copy(want[off:], b)
		}
		if !bytes.Equal(i, want) {
			t.Errorf("%s:\n%s, want\n%s", name, hex.Dump(i), hex.Dump(want))
		}
	}
}

// Fields beyond i_extra_isize are left alone: attributes may be there.
func TestInode_settersKeepToTheExtraSize(t *testing.T) {
	for _, extra := range []int{0, 4, 8, 12, 16, 20, 24, 28, 32} {
		i := NewInode(256, extra)
		end := InodeBaseSize + max(extra, 2)
		for n := end; n < len(i); n++ {
			i[n] = 0x5a
		}
		at := time.Unix(1<<32, 5)
		i.SetAtime(at)
		i.SetCtime(at)
		i.SetMtime(at)
		birth := i.SetCrtime(at)
		project := i.SetProject(7)
		i.SetVersion(1 << 40)
		i.Seal(1, 12)
		for n := end; n < len(i); n++ {
			if i[n] != 0x5a {
				t.Fatalf("extra size %d: byte 0x%x was written", extra, n)
			}
		}
		if birth != (extra >= 20) || project != (extra >= 32) {
			t.Errorf("extra size %d: birth %v, project %v", extra, birth, project)
		}
		if extra < 8 && i.Ctime() != time.Unix(MaxTime, 0).UTC() || extra >= 8 && !i.Ctime().Equal(at) {
			t.Errorf("extra size %d: ctime %v", extra, i.Ctime())
		}
		if stored, computed := i.Checksum(1, 12); stored != computed {
			t.Errorf("extra size %d: sealed %08x, computed %08x", extra, stored, computed)
		}
	}
}

func TestInode_timesRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	i := NewInode(256, 32)
	for range 10000 {
		at := time.Unix(MinTime+1+r.Int64N(MaxExtraTime-MinTime-1), r.Int64N(1e9)).UTC()
		i.SetMtime(at)
		if got := i.Mtime(); got != at {
			t.Fatalf("%v became %v", at, got)
		}
	}
	small := NewInode(128, 0)
	for _, c := range []struct{ sec, want int64 }{{-1 << 40, MinTime}, {MinTime, MinTime}, {-1, -1}, {5, 5}, {1 << 31, MaxTime}, {1 << 60, MaxTime}} {
		small.SetAtime(time.Unix(c.sec, 77))
		if got := small.Atime(); !got.Equal(time.Unix(c.want, 0)) {
			t.Errorf("%d in 128 bytes became %v", c.sec, got)
		}
	}
	if ClampTime(time.Unix(MaxExtraTime, 1), true) != time.Unix(MaxExtraTime, 0).UTC() {
		t.Error("the last time keeps its nanoseconds")
	}
}

func TestInode_setDeviceRoundTrip(t *testing.T) {
	for _, c := range [][2]uint32{{0, 0}, {1, 3}, {255, 255}, {256, 0}, {0, 256}, {0xfff, 0xfffff}, {259, 70000}} {
		i := NewInode(128, 0)
		i.SetDevice(c[0], c[1])
		if major, minor := i.Device(); major != c[0] || minor != c[1] {
			t.Errorf("%d:%d became %d:%d", c[0], c[1], major, minor)
		}
	}
}

func TestInode_setSectorsRefusesWhatDoesNotFit(t *testing.T) {
	i := NewInode(256, 32)
	for _, c := range []struct {
		n    uint64
		huge bool
		ok   bool
	}{{1<<32 - 1, false, true}, {1 << 32, false, false}, {1<<48 - 1, true, true}, {1 << 48, true, true}, {1<<51 - 1, true, true}, {1 << 51, true, false}} {
		if ok := i.SetSectors(c.n, c.huge, 4096); ok != c.ok {
			t.Errorf("%d, huge_file %v: %v", c.n, c.huge, ok)
		}
	}
	i.SetSectors(8, true, 4096)
	if i.Flags().Has(FlagHugeFile) || i.BlocksLo() != 8 || i.BlocksHi() != 0 {
		t.Error("the flag stays when the number shrinks")
	}
}

func TestNewInode_sizes(t *testing.T) {
	if i := NewInode(0, 32); len(i) != InodeBaseSize || !i.IsZero() {
		t.Error("a short record")
	}
	if i := NewInode(256, 500); i.ExtraSize() != 128 {
		t.Errorf("extra size %d", i.ExtraSize())
	}
	if i := NewInode(256, -1); i.RawExtraSize() != 0 {
		t.Errorf("extra size %d", i.RawExtraSize())
	}
}

func TestModeFromFileMode(t *testing.T) {
	for typ := range uint16(16) {
		for _, perm := range []uint16{0, 0o644, 0o7777, 0o4711, 0o2750, 0o1777} {
			mode := typ<<12 | perm
			m := FileMode(mode)
			want := mode
			if m&fs.ModeIrregular != 0 {
				want = perm
			}
			if got := ModeFromFileMode(m); got != want {
				t.Errorf("0%o: %v gives 0%o", mode, m, got)
			}
		}
	}
}
