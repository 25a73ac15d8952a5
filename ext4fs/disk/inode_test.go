package disk

import (
	"io/fs"
	"testing"
	"time"
)

func TestInode_times(t *testing.T) {
	for _, c := range []struct {
		lo, extra uint32
		want      time.Time
	}{
		{0x80000000, 0, time.Unix(-1<<31, 0)},
		{0xffffffff, 0, time.Unix(-1, 0)},
		{0, 0, time.Unix(0, 0)},
		{0x80000000, 1, time.Unix(1<<31, 0)},
		{7, 1, time.Unix(1<<32+7, 0)},
		{0x7fffffff, 3, time.Unix(1<<34-1<<31-1, 0)},
		{5, 999999999 << 2, time.Unix(5, 999999999)},
	} {
		i := make(Inode, 256)
		le.PutUint16(i[0x80:], 32)
		le.PutUint32(i[0x10:], c.lo)
		le.PutUint32(i[0x88:], c.extra)
		if got := i.Mtime(); !got.Equal(c.want) {
			t.Errorf("%08x/%08x = %v, want %v", c.lo, c.extra, got, c.want)
		}
	}
}

func TestInode_extraFieldsEndWithExtraIsize(t *testing.T) {
	i := make(Inode, 256)
	le.PutUint32(i[0x90:], 1000)
	le.PutUint32(i[0x9c:], 77)
	for _, c := range []struct {
		size    uint16
		birth   bool
		project bool
	}{{0, false, false}, {16, false, false}, {20, true, false}, {24, true, false}, {28, true, false}, {32, true, true}, {0xffff, true, true}} {
		le.PutUint16(i[0x80:], c.size)
		if _, ok := i.Crtime(); ok != c.birth {
			t.Errorf("extra size %d: birth time %v", c.size, ok)
		}
		if _, ok := i.Project(); ok != c.project {
			t.Errorf("extra size %d: project %v", c.size, ok)
		}
	}
	small := make(Inode, 128)
	if _, ok := small.Crtime(); ok || small.ExtraSize() != 0 {
		t.Error("a 128 byte inode has extra fields")
	}
}

func TestInode_checksumWidth(t *testing.T) {
	for _, c := range []struct {
		size  int
		extra uint16
		wide  bool
	}{{128, 0, false}, {256, 0, false}, {256, 32, true}, {1024, 28, true}} {
		i := make(Inode, c.size)
		if c.size > 128 {
			le.PutUint16(i[0x80:], c.extra)
		}
		le.PutUint16(i, ModeRegular)
		_, sum := i.Checksum(1, 12)
		le.PutUint16(i[0x7c:], uint16(sum))
		if c.wide {
			le.PutUint16(i[0x82:], uint16(sum>>16))
		}
		if stored, again := i.Checksum(1, 12); stored != again || again != sum {
			t.Errorf("%+v: stored %08x, computed %08x, at first %08x", c, stored, again, sum)
		}
		if (sum > 0xffff) && !c.wide {
			t.Errorf("%+v: a sum of 32 bits, %08x", c, sum)
		}
	}
}

func TestInode_device(t *testing.T) {
	for _, c := range []struct{ old, new, major, minor uint32 }{
		{8<<8 | 1, 0, 8, 1},
		{0, 0x00100105, 1, 0x105},
		{0, 0xfff00fff | 0xabc<<8&0xfff00, 0xabc | 0xf, 0xfffff},
	} {
		i := make(Inode, 128)
		le.PutUint32(i.Block(), c.old)
		le.PutUint32(i.Block()[4:], c.new)
		major, minor := i.Device()
		if c.old == 0 && c.new > 1<<28 {
			// Compare with the encoding's definition instead of a constant.
			if back := minor&0xff | major<<8 | (minor&^0xff)<<12; back != c.new {
				t.Errorf("%08x decodes to %d:%d, which encodes to %08x", c.new, major, minor, back)
			}
			continue
		}
		if major != c.major || minor != c.minor {
			t.Errorf("%08x %08x = %d:%d, want %d:%d", c.old, c.new, major, minor, c.major, c.minor)
		}
	}
}

func TestFileMode(t *testing.T) {
	for mode, want := range map[uint16]fs.FileMode{
		ModeRegular | 0644:              0644,
		ModeDir | ModeSticky | 0777:     fs.ModeDir | fs.ModeSticky | 0777,
		ModeSymlink | 0777:              fs.ModeSymlink | 0777,
		ModeChar | 0600:                 fs.ModeDevice | fs.ModeCharDevice | 0600,
		ModeBlock | 0600:                fs.ModeDevice | 0600,
		ModeFIFO:                        fs.ModeNamedPipe,
		ModeSocket:                      fs.ModeSocket,
		ModeRegular | ModeSetuid | 0755: fs.ModeSetuid | 0755,
		ModeRegular | ModeSetgid | 0755: fs.ModeSetgid | 0755,
		0x3000:                          fs.ModeIrregular,
	} {
		if got := FileMode(mode); got != want {
			t.Errorf("mode 0%o = %v, want %v", mode, got, want)
		}
		if mode&ModeType != 0x3000 {
			if got := EntryFileMode(EntryType(mode)); got != want.Type() {
				t.Errorf("mode 0%o: entry type gives %v, want %v", mode, got, want.Type())
			}
		}
	}
}

func TestInodeFlags_names(t *testing.T) {
	if got := (FlagExtents | FlagImmutable).String(); got != "immutable,extents" {
		t.Errorf("got %q", got)
	}
	if got := InodeFlags(0).String(); got != "-" {
		t.Errorf("none: %q", got)
	}
}
