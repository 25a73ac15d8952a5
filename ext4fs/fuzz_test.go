package ext4fs_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// harm writes the patches into the image: each is 3 bytes of offset (in units
// of 4 bytes, wrapped around the image), 1 byte of length up to 16, and the
// bytes. This way the fuzzer changes little at a time and everywhere.
func harm(img, patches []byte) {
	for len(patches) >= 5 {
		off := int(patches[0]) | int(patches[1])<<8 | int(patches[2])<<16
		n := min(int(patches[3]&15)+1, len(patches)-4)
		copy(img[off*4%len(img):], patches[4:4+n])
		patches = patches[4+n:]
	}
}

// patch makes a seed for the fuzzer: b written at off.
func patch(off int, b ...byte) []byte {
	return append([]byte{byte(off / 4), byte(off / 4 >> 8), byte(off / 4 >> 16), byte(len(b) - 1)}, b...)
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func seedHarm(f *testing.F) {
	f.Helper()
	for which := range seedNames {
		f.Add(byte(which), true, []byte{})
		for _, off := range []int{1024 + 0x18, 1024 + 0x20, 1024 + 0x28, 1024 + 0x58, 1024 + 0xe0, 2048, 2056, 3072} {
			f.Add(byte(which), true, patch(off, le32(0xffffffff)...))
			f.Add(byte(which), false, patch(off, le32(1)...))
		}
		for off := 4096; off < 60000; off += 7 * 1024 {
			f.Add(byte(which), true, patch(off, le32(uint32(off))...))
		}
	}
}

// FuzzOpen opens harmed images and looks at groups, bitmaps and journal.
func FuzzOpen(f *testing.F) {
	seedHarm(f)
	f.Fuzz(func(t *testing.T, which byte, ignore bool, patches []byte) {
		img := seed(t, seedNames[int(which)%len(seedNames)])
		harm(img, patches)
		fsys, err := ext4fs.Open(device.NewMemory(img), &ext4fs.Options{IgnoreChecksums: ignore})
		if err != nil {
			return
		}
		fsys.MMP()
		fsys.Journal()
		for g := disk.GroupNum(0); g < min(fsys.Super().Groups(), 64); g++ {
			fsys.Group(g)
			fsys.BlockBitmap(g)
			fsys.InodeBitmap(g)
		}
		n := 0
		for range fsys.FreeRuns() {
			if n++; n > 1000 {
				break
			}
		}
	})
}

// FuzzWalk walks harmed images and reads whatever is there.
func FuzzWalk(f *testing.F) {
	seedHarm(f)
	f.Fuzz(func(t *testing.T, which byte, ignore bool, patches []byte) {
		img := seed(t, seedNames[int(which)%len(seedNames)])
		harm(img, patches)
		fsys, err := ext4fs.Open(device.NewMemory(img), &ext4fs.Options{IgnoreChecksums: ignore})
		if err != nil {
			return
		}
		walkAll(t, fsys, 2000)
	})
}

// walkAll looks at everything an image has, up to so many names.
func walkAll(t testing.TB, fsys *ext4fs.FS, most int) {
	t.Helper()
	root, err := fsys.Root()
	if err != nil {
		return
	}
	buf := make([]byte, 32<<10)
	seen := 0
	err = fsys.Walk(context.Background(), root, "/", func(e *ext4fs.WalkEntry) error {
		if seen++; seen > most {
			return fs.SkipAll
		}
		if e.Path() == "" {
			t.Error("an entry without a path")
		}
		if e.Inode != nil {
			readAll(e.Inode, buf)
		}
		return nil
	})
	if err != nil {
		t.Errorf("walk: %v", err)
	}
	n := 0
	for i, err := range fsys.Inodes() {
		if n++; n > most {
			break
		}
		if err == nil {
			readAll(i, buf)
		}
	}
}

// readAll reads what an inode has, within bounds.
func readAll(i *ext4fs.Inode, buf []byte) {
	i.Stat()
	i.Xattrs()
	i.Readlink()
	i.ReadAt(buf, 0)
	i.ReadAt(buf[:100], max(i.Size()-50, 0))
	i.SeekData(i.Size() / 2)
	i.SeekHole(0)
	n := 0
	for _, err := range i.Extents() {
		if n++; n > 500 || err != nil {
			break
		}
	}
	if m, err := i.Map(); err == nil {
		n = 0
		for _, err := range m.Nodes() {
			if n++; n > 500 || err != nil {
				break
			}
		}
	}
	if !i.IsDir() {
		return
	}
	n = 0
	var cookie uint64
	for e, err := range i.EntriesFrom(0) {
		if n++; n > 500 {
			break
		}
		if err == nil {
			i.Lookup(string(e.Name))
			cookie = e.Cookie
		}
	}
	n = 0
	for range i.EntriesFrom(cookie) {
		if n++; n > 500 {
			break
		}
	}
	_, err := i.Lookup("no such name")
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
}
