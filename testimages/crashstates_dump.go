package testimages

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// Dumper puts crash states into a file, one after the other, for programs that
// want a file. It writes only what differs from what is there. One goroutine
// uses it at a time: each worker of [CrashStates] has its own.
type Dumper struct {
	f    *os.File
	path string
	// last is what the file holds; nil if somebody may have written to it.
	last *device.RAM
	page []byte
}

// NewDumper makes the file, or takes one that is there.
func NewDumper(path string) (*Dumper, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &Dumper{f: f, path: path, page: make([]byte, 4096)}, nil
}

// Path is the name of the file, for whatever may be done to it: the next Dump
// looks at all of it.
func (d *Dumper) Path() string {
	d.last = nil
	return d.path
}

// Close closes the file and leaves it there.
func (d *Dumper) Close() error { return d.f.Close() }

// Dump makes the file equal to r. It is not made durable.
func (d *Dumper) Dump(r *device.RAM) error {
	distrust(d.path)
	last := d.last
	d.last = nil
	var err error
	if last != nil && last.Size() == r.Size() {
		err = r.Diff(last, func(off, n int64) error { return d.write(r, off, n) })
	} else {
		err = d.compare(r)
	}
	if err == nil {
		d.last = r.Clone()
	}
	return err
}

func (d *Dumper) write(r *device.RAM, off, n int64) error {
	if err := readAll(r, d.page[:n], off); err != nil {
		return err
	}
	_, err := d.f.WriteAt(d.page[:n], off)
	return err
}

// compare looks at the whole file. What is a hole in it and zeros in r stays
// one.
func (d *Dumper) compare(r *device.RAM) error {
	if err := d.f.Truncate(r.Size()); err != nil {
		return err
	}
	is, want := make([]byte, copyPiece), make([]byte, copyPiece)
	for off := int64(0); off < r.Size(); off += copyPiece {
		n := min(copyPiece, r.Size()-off)
		is, want = is[:n], want[:n]
		if at, more := nextData(d.f, off); !more || at >= off+n {
			clear(is)
		} else if err := readAll(d.f, is, off); err != nil {
			return err
		}
		if err := readAll(r, want, off); err != nil {
			return err
		}
		if bytes.Equal(is, want) {
			continue
		}
		for at := int64(0); at < n; at += 4096 {
			end := min(at+4096, n)
			if bytes.Equal(is[at:end], want[at:end]) {
				continue
			}
			if _, err := d.f.WriteAt(want[at:end], off+at); err != nil {
				return err
			}
		}
	}
	return nil
}

// Load is the content of the file, such as what a program made of it.
func (d *Dumper) Load() (*device.RAM, error) {
	fi, err := d.f.Stat()
	if err != nil {
		return nil, err
	}
	return device.LoadRAM(device.NewReaderAt(d.f, fi.Size()))
}

// Judge dumps r and has e2fsck judge it as [JudgeCrash] does. The file then
// holds what e2fsck recovered.
func (d *Dumper) Judge(r *device.RAM) error {
	if err := d.Dump(r); err != nil {
		return err
	}
	return JudgeCrash(d.Path())
}

// Mount dumps r and has the kernel mount it, which recovers it, and fn look at
// it. It is for states that [Dumper.Judge] found nothing wrong with: the kernel
// is not to be given what is damaged.
func (d *Dumper) Mount(r *device.RAM, fn func(dir string) error) error {
	if err := d.Dump(r); err != nil {
		return err
	}
	path := d.Path()
	trust(path)
	defer distrust(path)
	return Mounted(path, "", fn)
}

// CheckClean dumps r, which was recovered already, and demands that e2fsck finds
// nothing to repair. It does not change the file.
func (d *Dumper) CheckClean(r *device.RAM) error {
	if err := d.Dump(r); err != nil {
		return err
	}
	return Check(d.path)
}

// JudgeCrash has e2fsck do to img what a mount after a power cut does, replay
// the journal and process the orphans, and nothing more; then e2fsck must find
// nothing to repair. The image is changed.
func JudgeCrash(img string) error {
	defer distrust(img)
	args := []string{"-p", img}
	if journal := JournalOf(img); exists(journal) {
		args = []string{"-p", "-j", journal, img}
	}
	// Without -f preening leaves a file system alone whose superblock says
	// that nothing is wrong, but for the journal and the orphans.
	out, err := run("e2fsck", args...)
	if err != nil && exitCode(err) != 1 {
		return fmt.Errorf("recovery by e2fsck: %w", err)
	}
	if err := onlyRecovered(out); err != nil {
		return err
	}
	if err := Check(img); err != nil {
		return fmt.Errorf("after recovery by e2fsck: %w", err)
	}
	return nil
}

// recoveryLines is what e2fsck says when it recovers.
var recoveryLines = []string{
	": recovering journal", ": Clearing orphaned inode ", ": Truncating orphaned inode ", ": clean, ",
}

var errMoreThanRecovery = errors.New("e2fsck did more than to recover")

// onlyRecovered reads what "e2fsck -p" says: a line that is not about the
// recovery is a repair, and without the word clean there was a whole check.
func onlyRecovered(out string) error {
	clean := false
	for line := range strings.Lines(out) {
		known := strings.TrimSpace(line) == ""
		for _, s := range recoveryLines {
			known = known || strings.Contains(line, s)
		}
		if !known {
			return fmt.Errorf("%w: %s", errMoreThanRecovery, strings.TrimSpace(line))
		}
		clean = clean || strings.Contains(line, ": clean, ")
	}
	if !clean {
		return fmt.Errorf("%w: %s", errMoreThanRecovery, tail(out, 500))
	}
	return nil
}
