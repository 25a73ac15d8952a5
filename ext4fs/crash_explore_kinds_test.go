package ext4fs

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// crashKindCase is a kind of image. Logs are small, so that they wrap.
type crashKindCase struct {
	name     string
	size     int64
	mkfs     []string
	data     DataMode
	discard  bool
	external int64 // bytes of a journal that lies behind the file system
	small    bool  // content is short
	noKernel bool  // not every kernel mounts it
}

var crashKinds = []*crashKindCase{
	{name: "4k", size: 16 << 20, mkfs: []string{"-b", "4096", "-J", "size=4"}},
	{name: "1k", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=1"}},
	{name: "nocsum", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "^metadata_csum,uninit_bg,^64bit"}},
	{name: "bigalloc", size: 16 << 20, mkfs: []string{"-b", "1024", "-C", "8192", "-J", "size=1", "-O", "bigalloc"}},
	{name: "inline", size: 10 << 20, mkfs: []string{"-b", "1024", "-I", "512", "-J", "size=1", "-O", "inline_data"}, small: true},
	{name: "orphan_file", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "orphan_file,metadata_csum_seed"}},
	{name: "data_journal", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=2"}, data: DataJournal},
	{name: "ext3", size: 10 << 20, mkfs: []string{"-t", "ext3", "-b", "1024", "-I", "128", "-J", "size=1"}},
	{name: "quota", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "quota,project,ea_inode"}, noKernel: true},
	{name: "groups", size: 24 << 20, mkfs: []string{"-b", "1024", "-g", "1024", "-N", "800", "-J", "size=1", "-O", "^resize_inode,^flex_bg,orphan_file"}},
	{name: "discard", size: 10 << 20, mkfs: []string{"-b", "1024", "-J", "size=1"}, discard: true},
	{name: "external", size: 10 << 20, mkfs: []string{"-b", "1024", "-O", "^has_journal"}, external: 2 << 20},
}

func (c *crashKindCase) orphanFile() bool {
	return slices.ContainsFunc(c.mkfs, func(arg string) bool { return strings.Contains(arg, "orphan_file") })
}

// crashBases keeps the images that were made, by kind.
var crashBases sync.Map

// base makes an image whose free blocks are stale.
func (c *crashKindCase) base(t testing.TB) *device.RAM {
	t.Helper()
	if dev, ok := crashBases.Load(c.name); ok {
		return dev.(*device.RAM).Clone()
	}
	dev := loadRAM(t, formatFile(t, c.size, c.mkfs...))
	if c.external > 0 {
		dev = c.addJournal(t, dev)
	}
	soilFree(t, c, dev)
	crashBases.Store(c.name, dev.Clone())
	return dev
}

// addJournal puts a journal behind the file system.
func (c *crashKindCase) addJournal(t testing.TB, fsys *device.RAM) *device.RAM {
	t.Helper()
	uuid := [16]byte{0xe4, 15: 1}
	log := loadRAM(t, formatFile(t, c.external, "-b", "1024", "-O", "journal_dev", "-U", disk.UUIDString(uuid)))
	sb, err := readCrashSuper(fsys)
	if err != nil {
		t.Fatal(err)
	}
	sb.Features.Compat |= disk.CompatHasJournal
	sb.JournalUUID = uuid
	if err := writeSuper(fsys, sb); err != nil {
		t.Fatal(err)
	}
	const at = 2 * 1024 // behind the superblock of the device
	jsb := make([]byte, 1024)
	if _, err := log.ReadAt(jsb, at); err != nil {
		t.Fatal(err)
	}
	var j disk.JournalSuperblock
	if err := j.Decode(jsb); err != nil {
		t.Fatal(err)
	}
	j.NrUsers, j.Users[0] = 1, sb.UUID
	j.Encode(jsb)
	if j.HasChecksum() {
		disk.SealJournalSuperblock(jsb)
	}
	if _, err := log.WriteAt(jsb, at); err != nil {
		t.Fatal(err)
	}
	all := device.NewRAM(c.size + c.external)
	for _, part := range []struct {
		dev *device.RAM
		off int64
	}{{fsys, 0}, {log, c.size}} {
		b := make([]byte, part.dev.Size())
		if _, err := part.dev.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := all.WriteAt(b, part.off); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func readCrashSuper(dev device.Device) (*disk.Superblock, error) {
	b := make([]byte, disk.SuperblockSize)
	if _, err := dev.ReadAt(b, disk.SuperblockOffset); err != nil {
		return nil, err
	}
	sb := new(disk.Superblock)
	return sb, sb.Decode(b)
}

// open opens an image of the kind.
func (c *crashKindCase) open(dev device.Writer, clock func() time.Time, write bool) (*FS, error) {
	o := &Options{Write: write, CommitInterval: -1, DataMode: c.data, Discard: c.discard, Clock: clock}
	if clock == nil {
		o.Clock = func() time.Time { return crashEpoch.Add(-time.Hour) }
	}
	if c.external > 0 {
		log, err := device.NewWriterWindow(dev, c.size, c.external)
		if err != nil {
			return nil, err
		}
		o.Journal = log
		if dev, err = device.NewWriterWindow(dev, 0, c.size); err != nil {
			return nil, err
		}
	}
	return Open(dev, o)
}

// soilFree fills all free blocks of an image with what no file has.
func soilFree(t testing.TB, c *crashKindCase, dev *device.RAM) {
	t.Helper()
	f, err := c.open(dev.Clone(), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	s := &f.super
	cluster := int(s.ClusterSize())
	p := bytes.Repeat([]byte{stale}, cluster)
	for g := disk.GroupNum(0); g < s.Groups(); g++ {
		m, err := f.live.alloc.BlockBitmap(g)
		if err != nil {
			t.Fatal(err)
		}
		first := int64(s.GroupFirstBlock(g)) * int64(s.BlockSize())
		for k := uint64(0); k < uint64(m.Len); k++ {
			if m.Bits[k/8]>>(k%8)&1 == 0 {
				if _, err := dev.WriteAt(p, first+int64(k)*int64(cluster)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// crashWork is a workload.
type crashWork struct {
	name string
	run  func(w *crashWorld)
	// skip names kinds that cannot do it.
	skip string
}

func (c *crashWork) suits(kind *crashKindCase) bool {
	for _, name := range strings.Fields(c.skip) {
		if name == kind.name {
			return false
		}
	}
	return true
}

// record runs the workload on a new image of the kind.
func (c *crashWork) record(t testing.TB, kind *crashKindCase, seed uint64) (*crashWorld, *testimages.WriteLog) {
	t.Helper()
	w := newCrashWorld(t, kind, kind.base(t), seed)
	c.run(w)
	return w, w.finish()
}
