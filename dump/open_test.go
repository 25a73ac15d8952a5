package dump

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestOpen_damagedSuperblock breaks the primary superblock in several ways and
// looks what is still to be had.
func TestOpen_damagedSuperblock(t *testing.T) {
	good, err := os.ReadFile(testimages.Build(t, testimages.Find(t, "ext4-1k")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		damage   func(b []byte)
		at       int64 // where the superblock shown lies
		problems bool
		notes    string
		geometry bool
		checksum string
		primary  bool
	}{
		{"nothing", func([]byte) {}, 1024, false, "", true, ChecksumGood, true},
		{"a byte", func(b []byte) { b[1024+0x88] ^= 1 }, 1024, false, "", true, ChecksumBad, true},
		{"the magic", func(b []byte) { b[1024+0x38] = 0 }, 8193 * 1024, false, "backup of the superblock in block 8193", true, ChecksumGood, false},
		{"all", func(b []byte) { clear(b[1024:2048]) }, 8193 * 1024, false, "backup of the superblock in block 8193", true, ChecksumGood, false},
		{"geometry", func(b []byte) { b[1024+0x2a] = 0xff }, 1024, true, "backup of the superblock in block 8193", true, ChecksumBad, false},
		{"an unknown feature", func(b []byte) { b[1024+0x63] = 0x80 }, 1024, false, "FEATURE_I31", true, ChecksumBad, false},
		{"geometry everywhere", func(b []byte) {
			for n := 0; n+0x400 <= len(b); n += 0x400 {
				if b[n+0x38] == 0x53 && b[n+0x39] == 0xef {
					b[n+0x2a] = 0xff
				}
			}
		}, 1024, true, "inodes per group", false, ChecksumBad, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := append([]byte(nil), good...)
			c.damage(b)
			im, err := Open(device.NewMemory(b), nil)
			if err != nil {
				t.Fatal(err)
			}
			v := im.Super()
			if v.Offset != c.at || (len(v.Problems) > 0) != c.problems || v.Checksum.State != c.checksum {
				t.Errorf("superblock at %d, problems %q, checksum %v", v.Offset, v.Problems, v.Checksum)
			}
			notes := strings.Join(im.Notes(), "\n")
			if (notes == "") != (c.notes == "") || !strings.Contains(notes, c.notes) {
				t.Errorf("notes %q, want %q", notes, c.notes)
			}
			g, err := im.Group(0)
			if c.geometry != (err == nil) || !c.geometry && !errors.Is(err, ErrNoGeometry) {
				t.Fatalf("group: %v", err)
			}
			if c.geometry && len(g.Problems) > 0 || c.primary && g.InodeBitmapChecksum.State != ChecksumGood {
				t.Errorf("group: %q, checksum %v", g.Problems, g.InodeBitmapChecksum)
			}
			if raw, err := im.RawBlock(5); err != nil || string(raw) != string(b[5*1024:6*1024]) {
				t.Errorf("raw block: %v", err)
			}
			if v, err := im.Block(1); err != nil || v.Looks != "superblock" && b[1024+0x38] != 0 {
				t.Errorf("block 1: %v, looks like %q", err, v.Looks)
			}
		})
	}
}

func TestOpen_nothingThere(t *testing.T) {
	for _, size := range []int{0, 100, 1024, 2048, 1 << 20} {
		if _, err := Open(device.NewMemory(make([]byte, size)), nil); !errors.Is(err, ext4fs.ErrNotExt4) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestOpen_journalThatCannotBeReplayed shows the image as it lies there.
func TestOpen_journalThatCannotBeReplayed(t *testing.T) {
	b, err := os.ReadFile(testimages.Build(t, testimages.Find(t, "dirty")))
	if err != nil {
		t.Fatal(err)
	}
	im, err := Open(device.NewMemory(b), nil)
	if err != nil || len(im.Notes()) > 0 {
		t.Fatalf("%v %q", err, im.Notes())
	}
	i, err := im.FS().Inode(disk.JournalInode)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range i.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		clear(b[int(e.Physical)*im.blockSize():][:im.blockSize()])
		break
	}
	if im, err = Open(device.NewMemory(b), nil); err != nil {
		t.Fatal(err)
	}
	if notes := im.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "shown without the journal") {
		t.Errorf("notes %q", notes)
	}
	if v, err := im.JournalSuper(); err != nil || len(v.Problems) == 0 {
		t.Errorf("journal superblock: %v %+v", err, v)
	}
}

// TestJournal_ofAnExternalDevice dumps a journal device by itself.
func TestJournal_ofAnExternalDevice(t *testing.T) {
	path := testimages.Build(t, testimages.Find(t, "dirty-external"))
	dev, err := device.Open(testimages.JournalOf(path), device.Options{Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	im, err := Open(dev, nil)
	if err != nil {
		t.Fatal(err)
	}
	var alone, inside []string
	for v, err := range im.Journal() {
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, textOf(t, v))
	}
	for v, err := range openImage(t, path, ext4fs.Options{}).Journal() {
		if err != nil {
			t.Fatal(err)
		}
		inside = append(inside, textOf(t, v))
	}
	if len(alone) < 5 || len(alone) != len(inside) || strings.Join(alone[1:], "") != strings.Join(inside[1:], "") {
		t.Errorf("%d records alone, %d through the file system", len(alone), len(inside))
	}
}

// TestDir_showsDeletedNames makes a directory as an old kernel leaves it, that
// does not clear what it removes.
func TestDir_showsDeletedNames(t *testing.T) {
	b := make([]byte, 1024)
	put := func(off int, ino uint32, length int, name string) {
		le.PutUint32(b[off:], ino)
		le.PutUint16(b[off+4:], uint16(length))
		b[off+6], b[off+7] = byte(len(name)), 1
		copy(b[off+8:], name)
	}
	put(0, 2, 12, ".")
	put(12, 2, 12, "..")
	put(24, 11, 1000, "kept")
	put(40, 12, 16, "gone")
	put(56, 13, 968, "also gone")
	put(100, 0, 16, "inode 0")
	im := openDemo(t)
	v := &DirBlock{Entries: []DirEntry{}}
	v.records(&dirWalk{im: im, hash: &hasher{}}, b, disk.DirLayout{BlockSize: 1024}, true)
	var got []string
	for _, e := range v.Entries {
		got = append(got, e.State+" "+e.Text)
	}
	want := "used .,used ..,used kept,deleted gone,deleted also gone"
	if s := strings.Join(got, ","); s != want || len(v.Problems) > 0 {
		t.Errorf("%s, want %s; %q", s, want, v.Problems)
	}
}

// TestScan_withBackupMissesNoFile: the descriptors beside a backup call groups
// empty that are in use since.
func TestScan_withBackupMissesNoFile(t *testing.T) {
	b, err := os.ReadFile(testimages.Build(t, testimages.Find(t, "ext4-1k")))
	if err != nil {
		t.Fatal(err)
	}
	count := func() (files uint64) {
		im, err := Open(device.NewMemory(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range Scan(t.Context(), im, ScanOptions{}, func(s *ExtentStats, f *File) { s.Add(f) }) {
			if err != nil {
				t.Fatal(err)
			}
			files += s.Files
		}
		return files
	}
	want := count()
	clear(b[1024:2048])
	if got := count(); got < want || want < 100 {
		t.Errorf("%d files with the backup, %d with the primary superblock", got, want)
	}
}
