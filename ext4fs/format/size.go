package format

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrNoSpace: the content does not fit into a file system of the size that was
// asked for. It matches syscall.ENOSPC.
var ErrNoSpace = disk.NewKind("the content does not fit", syscall.ENOSPC)

// SizeError tells what the content needs and the file system has. It matches
// ErrNoSpace.
type SizeError struct {
	What string // "bytes" or "inodes"
	// Need and Have are what there has to be, and is, for the content,
	// without the file system's own tables and files.
	Need, Have uint64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%v: it needs %d %s, there are %d", ErrNoSpace, e.Need, e.What, e.Have)
}

// Is reports whether target is ErrNoSpace or what that matches.
func (e *SizeError) Is(target error) bool { return target == ErrNoSpace || is(ErrNoSpace, target) }

// FileError says which file an image cannot hold, and why.
type FileError struct {
	Path string // in the image
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// ChangedError says that a file has another length than when it was found.
type ChangedError struct {
	Planned, Found int64 // bytes
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("has %d bytes by now, of which the first %d were taken", e.Found, e.Planned)
}

var errTooBig = disk.NewKind("file too large for the file system", syscall.EFBIG)

// tooSmall is the error when so many clusters more are needed than are left.
func (m *image) tooSmall(more uint64) error {
	size := uint64(m.p.sb.ClusterSize())
	return &SizeError{What: "bytes", Need: (m.have + more) * size, Have: m.have * size}
}

// smallJournal is the least number of blocks of a journal.
const smallJournal = 1024

// find finds the size: the smallest one that has room for the content and, with
// SizeAuto, for as much more as was asked for.
func (l *planner) find() (*image, error) {
	if n := l.o.Inodes; n != 0 && n < l.inodes() {
		return nil, &SizeError{What: "inodes", Need: l.inodes(), Have: n}
	}
	guess, err := l.guess()
	if err != nil {
		return nil, err
	}
	if l.o.BlockSize == 0 {
		// The block size may go with the size, and must not change on the way.
		l.o.BlockSize = l.o.blockSize(guess)
		if guess, err = l.guessBlocks(); err != nil {
			return nil, err
		}
	}
	if l.o.Size == SizeMin && l.o.Journal.Size == 0 && l.o.Journal.Device == nil {
		l.o.Journal.Size = smallJournal * int64(l.o.BlockSize)
	}
	low, high := int64(0), guess
	for {
		fits, err := l.fits(high)
		if err != nil {
			return nil, err
		}
		if fits {
			break
		}
		if high > 16*(guess+64<<20) {
			// Tables are a small part of any file system: it is not for
			// want of room.
			return nil, l.why
		}
		low, high = high, high+max(high/8, 1<<20)
	}
	return l.shrink(low, high)
}

// shrink searches between a size that is too small and one that is not, and
// lays the image out.
func (l *planner) shrink(low, high int64) (*image, error) {
	unit := max(l.o.ClusterSize, int64(l.o.BlockSize))
	for high-low > unit {
		mid := low + (high-low)/2/unit*unit
		if mid == low {
			break
		}
		fits, err := l.fits(mid)
		if err != nil {
			return nil, err
		}
		if fits {
			high = mid
		} else {
			low = mid
		}
	}
	for try := 0; ; try++ {
		m, err := l.prepare(high, l.wanted(high))
		if err == nil {
			err = m.layOut(l.ctx)
		}
		var small *SizeError
		if err == nil || !errors.As(err, &small) || small.What != "bytes" || try == 64 {
			return m, err
		}
		// Files in many pieces need blocks for their maps.
		high += int64(try+1) * max(unit, int64(small.Need)-int64(small.Have))
	}
}

// guessBlocks is guess with larger blocks where the content needs them, for long
// targets or many attributes.
func (l *planner) guessBlocks() (int64, error) {
	for {
		guess, err := l.guess()
		var file *FileError
		if err == nil || l.o.BlockSize >= defaultPage || !errors.As(err, &file) {
			return guess, err
		}
		l.o.BlockSize *= 2
	}
}

// maxFree is the most percent of a file system that can be wanted free: its
// inodes take almost one.
const maxFree = 99

// mostGuess keeps sums with sizes in range. No file system is so large.
const mostGuess = math.MaxInt64 / 64

// guess is roughly the size that the content needs.
func (l *planner) guess() (int64, error) {
	inodes := max(l.inodes(), l.o.Inodes)
	m, err := l.prepare(roomy(inodes), l.exactly(l.inodes()))
	if err != nil {
		return 0, err
	}
	d := m.demand
	if d.meta+d.data > math.MaxInt64/8/uint64(m.p.sb.ClusterSize()) {
		return 0, bad("size", "auto", "the content is too large")
	}
	bytes := float64((d.meta+d.data)*uint64(m.p.sb.ClusterSize())) + float64(inodes*uint64(m.p.sb.InodeSize())) + float64(max(l.o.Free, 0))
	bytes *= 100 / (100 - l.o.FreePercent)
	if bytes > mostGuess {
		return 0, bad("size", "auto", "content and free space are too large")
	}
	return int64(bytes) + 256<<10, nil
}

// roomy is a size that has room for so many inodes.
func roomy(inodes uint64) int64 { return 1<<30 + int64(min(inodes, math.MaxUint32))<<13 }

// exactly is the need for so many inodes, and for no more unless their ratio was
// asked for.
func (l *planner) exactly(inodes uint64) need {
	return need{inodes: inodes, exact: l.o.InodeRatio == 0}
}

// wanted is what a file system of that size is to have in inodes. One that is
// to be written to gets some more than the content has.
func (l *planner) wanted(size int64) need {
	n := l.exactly(l.inodes() + hiddenInodes)
	if l.o.Size == SizeAuto {
		n.inodes += n.inodes/16 + 16 + uint64(max(l.o.Free, 0))>>14
		if l.o.FreePercent > 0 {
			n.inodes += uint64(float64(size)*l.o.FreePercent/100) >> 14
		}
	}
	return n
}

// fits reports whether a file system of that size has room for the content and
// the free space that is wanted.
func (l *planner) fits(size int64) (bool, error) {
	m, err := l.prepare(size, l.wanted(size))
	var small *SmallError
	var full *SizeError
	var option *OptionError
	switch {
	case errors.As(err, &small), errors.As(err, &full), errors.As(err, &option) && option.Option == "inodes":
		l.why = err
		return false, l.ctx.Err()
	case err != nil:
		return false, err
	}
	cluster := uint64(m.p.sb.ClusterSize())
	need := m.demand.meta + m.demand.data + divUp(l.free(m), cluster)
	if need <= m.s.left {
		return true, l.ctx.Err()
	}
	l.why = &SizeError{What: "bytes", Need: need * cluster, Have: m.s.left * cluster}
	if l.o.FreePercent > 0 {
		l.why = bad("free space", l.o.FreePercent, "so many percent, reserved blocks and tables leave no room for the content")
	}
	return false, l.ctx.Err()
}

// free is how many bytes are to stay free: what others than root may use, if
// any.
func (l *planner) free(m *image) uint64 {
	if l.o.Size != SizeAuto {
		return 0
	}
	bytes := uint64(max(l.o.Free, 0))
	bs := uint64(m.p.sb.BlockSize())
	if f := l.o.FreePercent; f > 0 {
		bytes += uint64(float64(m.p.sb.Blocks()*bs) * f / 100)
	}
	if bytes > 0 {
		bytes += m.p.sb.ReservedBlocks * bs
	}
	return bytes
}
