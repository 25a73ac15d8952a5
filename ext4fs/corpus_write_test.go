package ext4fs_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// biggestWritten bounds the corpus images that are loaded into memory.
const biggestWritten = 1 << 30

// loadCorpus reads a corpus image into memory.
func loadCorpus(t *testing.T, path string) *device.RAM {
	t.Helper()
	dev, err := device.Open(path, device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Size() > biggestWritten {
		t.Fatalf("%d bytes are too many to be loaded", dev.Size())
	}
	ram, err := device.LoadRAM(dev)
	if err != nil {
		t.Fatal(err)
	}
	return ram
}

// TestCorpus_writeDamagedImages opens every image of the corpus for writing,
// with and without checksums, and changes what is there: whatever that is, it
// ends, writes nothing outside, and errors say what is wrong.
func TestCorpus_writeDamagedImages(t *testing.T) {
	dir, images := corpusImages(t)
	for _, im := range images {
		t.Run(im.Name, func(t *testing.T) {
			ram := loadCorpus(t, filepath.Join(dir, im.Name+".img.gz"))
			var log *device.RAM
			if j := filepath.Join(dir, im.Name+".journal.img.gz"); exists(j) {
				log = loadCorpus(t, j)
			}
			for _, ignore := range []bool{false, true} {
				opts := &ext4fs.Options{Write: true, IgnoreChecksums: ignore, EnforceQuotas: true, Discard: true}
				if log != nil {
					opts.Journal = &guardDevice{log.Clone(), t}
				}
				writeCorpus(t, &guardDevice{ram.Clone(), t}, opts)
			}
		})
	}
}

func writeCorpus(t *testing.T, dev *guardDevice, opts *ext4fs.Options) {
	t.Helper()
	hangs(t, time.Minute)
	fsys, err := ext4fs.Open(dev, opts)
	if err != nil {
		if !clear(err) && !tells(err) {
			t.Errorf("open: not a typed error: %v", err)
		}
		return
	}
	tell := func(op int, err error) {
		if !clear(err) && !tells(err) {
			t.Errorf("operation %d: not a typed error: %v", op, err)
		}
	}
	var ops []byte
	for round := range 2 {
		for op := range scriptOps {
			ops = append(ops, byte(op), byte(5*op+round), 3, byte(op+round), 9, 12)
		}
	}
	for len(ops) > 0 {
		n := min(6, len(ops))
		s := &script{f: fsys, b: ops[:n]}
		s.run(tell)
		ops = ops[n:]
	}
	if err := fsys.Close(); err != nil && !clear(err) && !tells(err) {
		t.Errorf("close: not a typed error: %v", err)
	}
}

// tells reports whether an error is one that an operation may give on an image
// that has nothing wrong, or says that writing has ended, and why.
func tells(err error) bool {
	if errors.Is(err, journal.ErrAborted) {
		return clear(errors.Unwrap(err)) || strings.Count(err.Error(), ": ") > 0
	}
	for _, kind := range []error{
		fs.ErrExist, fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, ext4fs.ErrNotDir, ext4fs.ErrIsDir, ext4fs.ErrNotEmpty,
		ext4fs.ErrLoop, ext4fs.ErrNameLong, ext4fs.ErrNoSpace, ext4fs.ErrQuota, ext4fs.ErrReadOnly, ext4fs.ErrLinks,
		ext4fs.ErrFileTooBig, ext4fs.ErrNotFile, ext4fs.ErrNotSupported, ext4fs.ErrNotPermitted, ext4fs.ErrNoAttr,
		ext4fs.ErrNoKey, ext4fs.ErrBusy, ext4fs.ErrNotLink,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
