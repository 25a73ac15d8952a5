package ext4fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// orphanFormats are those that note orphans in different ways. Without
// metadata checksums a test can change records in place.
var orphanFormats = []struct {
	name string
	args []string
}{
	{"list", []string{"-b", "1024"}},
	{"list_plain", []string{"-b", "1024", "-O", "^metadata_csum"}},
	{"file", []string{"-b", "1024", "-O", "orphan_file"}},
	{"file_plain", []string{"-b", "1024", "-O", "orphan_file,^metadata_csum"}},
}

// makeOrphans makes n files of which nothing but a hold is left.
func makeOrphans(t testing.TB, f *FS, n int) []*Inode {
	t.Helper()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	var list []*Inode
	for k := range n {
		name := fmt.Sprintf("orphan%d", k)
		i, err := root.Create(name, &NewNode{Mode: 0o644})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.WriteAt(make([]byte, 3000*(k%5)), int64(k)*100_000); err != nil {
			t.Fatal(err)
		}
		i.Hold()
		if err := root.Unlink(name); err != nil {
			t.Fatal(err)
		}
		list = append(list, i)
	}
	return list
}

// crashed is a copy of the device as it is now, with the log empty but the
// image in use.
func crashed(t testing.TB, f *FS, dev *device.RAM) *device.RAM {
	t.Helper()
	if err := f.live.journal.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dev.Clone()
}

func TestOrphans_afterCrash(t *testing.T) {
	for _, format := range orphanFormats {
		t.Run(format.name, func(t *testing.T) {
			dev := formatRAM(t, 32<<20, format.args...)
			f := openWrite(t, dev)
			free := f.live.alloc.Counts()
			list := makeOrphans(t, f, 50)
			root, err := f.Root()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := root.Tmpfile(&NewNode{Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			for k, i := range list { // from the middle of the list too
				if k%3 == 0 {
					if err := i.Release(); err != nil {
						t.Fatal(err)
					}
				}
			}
			again := crashed(t, f, dev)
			f2 := openWrite(t, again)
			if o := f2.Recovered().Orphans; o.Deleted != 34 || o.Truncated != 0 || len(o.Bad) != 0 {
				t.Errorf("orphans: %+v", o)
			}
			if now := f2.live.alloc.Counts(); now != free {
				t.Errorf("free: %+v, was %+v", now, free)
			}
			closeWrite(t, f2)
			fsckDevice(t, again)
			closeWrite(t, f)
			fsckDevice(t, dev)
		})
	}
}

// TestOrphans_truncate: an inode with names is truncated to its size.
func TestOrphans_truncate(t *testing.T) {
	for _, format := range orphanFormats {
		t.Run(format.name, func(t *testing.T) {
			dev := formatRAM(t, 32<<20, format.args...)
			f := openWrite(t, dev)
			if err := f.WriteFile("file", make([]byte, 300_000), 0o644); err != nil {
				t.Fatal(err)
			}
			i, err := f.Lookup("file")
			if err != nil {
				t.Fatal(err)
			}
			err = i.change(func(h *txn) error {
				if err := i.update(h, func(r disk.Inode) { r.SetSize(5000) }); err != nil {
					return err
				}
				return f.orphanAdd(h, i)
			})
			if err != nil {
				t.Fatal(err)
			}
			again := crashed(t, f, dev)
			f2 := openWrite(t, again)
			if o := f2.Recovered().Orphans; o.Truncated != 1 || o.Deleted != 0 || len(o.Bad) != 0 {
				t.Errorf("orphans: %+v", o)
			}
			if i, err := f2.Lookup("file"); err != nil || i.Size() != 5000 || i.Sectors() != 10 || i.record().DeletionTime() != 0 {
				t.Errorf("%v %d bytes, %d sectors", err, i.Size(), i.Sectors())
			}
			closeWrite(t, f2)
			fsckDevice(t, again)
		})
	}
}

// orphanDamage changes what notes the orphans, and says how many entries are
// bad then.
type orphanDamage struct {
	name   string
	format int // of orphanFormats
	bad    int
	// deleted is how many of the orphans, of which there are 5, are found.
	deleted int
	change  func(w *damage)
}

// damage changes bytes of an image.
type damage struct {
	t    testing.TB
	dev  *device.RAM
	list []*Inode
}

func (w *damage) put32(off int64, v uint32) {
	b := binary.LittleEndian.AppendUint32(nil, v)
	if _, err := w.dev.WriteAt(b, off); err != nil {
		w.t.Fatal(err)
	}
}

// next changes the link to the next orphan in inode k of the list.
func (w *damage) next(k int, n uint32) {
	i := w.list[k]
	block, at, err := i.fs.InodeLocation(i.num)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put32(int64(block)*int64(i.fs.BlockSize())+int64(at)+0x14, n)
}

// head changes s_last_orphan.
func (w *damage) head(n uint32) { w.put32(disk.SuperblockOffset+0xe8, n) }

// slot changes the slot of inode k.
func (w *damage) slot(k int, n uint32) {
	o := &w.list[k].fs.live.orphans
	p := w.list[k].orphan
	w.put32(int64(o.file[p.block].block)*1024+int64(4*p.slot), n)
}

func TestOrphans_damaged(t *testing.T) {
	for _, d := range []orphanDamage{
		{"loop", 1, 1, 5, func(w *damage) { w.next(0, uint32(w.list[4].num)) }},
		{"itself", 1, 1, 2, func(w *damage) { w.next(3, uint32(w.list[3].num)) }},
		{"out of range", 1, 1, 3, func(w *damage) { w.next(2, 1<<31) }},
		{"reserved", 1, 1, 4, func(w *damage) { w.next(1, 8) }},
		{"free inode", 1, 1, 1, func(w *damage) { w.next(4, uint32(w.list[0].fs.inodes)) }},
		{"head", 1, 1, 0, func(w *damage) { w.head(99999999) }},
		{"head is root", 1, 1, 0, func(w *damage) { w.head(2) }},
		{"slot out of range", 3, 1, 4, func(w *damage) { w.slot(2, 1<<30) }},
		{"slot twice", 3, 1, 4, func(w *damage) { w.slot(2, uint32(w.list[1].num)) }},
		{"slot of the journal", 3, 1, 4, func(w *damage) { w.slot(0, 8) }},
		{"slot checksum", 2, 1, 4, func(w *damage) { w.slot(0, 9999) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			dev := formatRAM(t, 32<<20, orphanFormats[d.format].args...)
			f := openWrite(t, dev)
			w := &damage{t: t, list: makeOrphans(t, f, 5)}
			w.dev = crashed(t, f, dev)
			d.change(w)
			f2 := openWrite(t, w.dev)
			if o := f2.Recovered().Orphans; o.Deleted != d.deleted || len(o.Bad) != d.bad {
				t.Errorf("orphans: %+v, want %d deleted and %d bad", o, d.deleted, d.bad)
			}
			for _, i := range makeOrphans(t, f2, 3) {
				if err := i.Release(); err != nil {
					t.Error(err)
				}
			}
			if err := f2.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOrphans_fileFull: what finds no slot goes to the list.
func TestOrphans_fileFull(t *testing.T) {
	dev := formatRAM(t, 64<<20, "-b", "1024", "-O", "orphan_file", "-N", "12000")
	f := openWrite(t, dev)
	slots := 0
	for _, b := range f.live.orphans.file {
		slots += b.free
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	var list []*Inode
	for range slots + 20 {
		i, err := root.Tmpfile(&NewNode{Mode: 0o600})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, i)
	}
	kinds := make(map[orphanKind]int)
	for _, i := range list {
		kinds[i.orphan.kind]++
	}
	if kinds[orphanInFile] != slots || kinds[orphanInList] != 20 {
		t.Errorf("%v of %d slots", kinds, slots)
	}
	again := crashed(t, f, dev)
	f2 := openWrite(t, again)
	if o := f2.Recovered().Orphans; o.Deleted != slots+20 || len(o.Bad) != 0 {
		t.Errorf("orphans: %d deleted, %v", o.Deleted, o.Bad)
	}
	closeWrite(t, f2)
	fsckDevice(t, again)
	for _, i := range list {
		if err := i.Release(); err != nil {
			t.Fatal(err)
		}
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestRelease_content: what was unlinked can be read and written until it is
// released.
func TestRelease_content(t *testing.T) {
	dev := formatRAM(t, 32<<20)
	f := openWrite(t, dev)
	file, err := f.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("file"); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(" and after")); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("file", []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(file); err != nil || string(b) != "before and after" {
		t.Errorf("%q %v", b, err)
	}
	if err := file.Inode().fs.Link("file", "more"); err != nil {
		t.Error(err)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Link("back", file.Inode()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("link of what was unlinked: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}
