package journal

import (
	"io"
	"os"
	"sort"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Overlay is dev as it would be after the replay of the full commits: reads
// are patched with the blocks of the log, nothing is written. It is safe for
// concurrent use, and a device.HostRanger if dev is one. Blocks of the log are
// read when they are asked for, and not kept.
func (r *Recovery) Overlay(dev device.Device) device.Device {
	if len(r.entries) == 0 {
		return dev
	}
	o := &overlay{Device: dev, r: r, bs: int64(r.bs)}
	if h, ok := dev.(device.HostRanger); ok {
		return &hostOverlay{o, h}
	}
	return o
}

type overlay struct {
	device.Device
	r  *Recovery
	bs int64
}

// search is the index of the first entry whose block ends after off.
func (o *overlay) search(off int64) int {
	home := disk.BlockNum(off / o.bs)
	e := o.r.entries
	return sort.Search(len(e), func(i int) bool { return e[i].home >= home })
}

// begins is the offset of entry i, or the largest offset if there is none.
func (o *overlay) begins(i int) int64 {
	const never = 1<<63 - 1
	if i >= len(o.r.entries) || uint64(o.r.entries[i].home) > uint64(never/o.bs) {
		return never
	}
	return int64(o.r.entries[i].home) * o.bs
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || len(p) == 0 {
		return o.Device.ReadAt(p, off)
	}
	i := o.search(off)
	if o.begins(i)-off >= int64(len(p)) {
		return o.Device.ReadAt(p, off)
	}
	size := o.Size()
	if off >= size {
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	n, err := len(p), error(nil)
	if !o.covered(i, p, off) {
		if n, err = o.Device.ReadAt(p, off); err == io.EOF && n == len(p) {
			err = nil
		}
	}
	if err := o.patch(i, p[:n], off); err != nil {
		return 0, err
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// covered reports whether the entries from i on hold all of the bytes.
func (o *overlay) covered(i int, p []byte, off int64) bool {
	for end := off + int64(len(p)); off < end; i++ {
		begin := o.begins(i)
		if begin > off {
			return false
		}
		off = begin + o.bs
	}
	return true
}

// patch overwrites p, which was read at off, with the entries from i on.
func (o *overlay) patch(i int, p []byte, off int64) error {
	for ; o.begins(i)-off < int64(len(p)); i++ {
		begin := o.begins(i)
		if begin < off || begin+o.bs > off+int64(len(p)) {
			if err := o.patchPart(i, p, off); err != nil {
				return err
			}
			continue
		}
		// Whole blocks, as many as lie side by side here and in the log.
		n := o.adjacent(i, (off+int64(len(p))-begin)/o.bs)
		q := p[begin-off:][:int64(n)*o.bs]
		if err := o.r.log.ReadBlocks(o.r.entries[i].log, q); err != nil {
			return err
		}
		for k := range n {
			if o.r.entries[i+k].escaped {
				disk.Unescape(q[int64(k)*o.bs:])
			}
		}
		i += n - 1
	}
	return nil
}

// adjacent counts the entries from i on, up to limit, whose homes and copies
// are consecutive.
func (o *overlay) adjacent(i int, limit int64) int {
	e, n := o.r.entries[i:], 1
	for int64(n) < limit && n < len(e) && e[n].home == e[n-1].home+1 && e[n].log == e[n-1].log+1 {
		n++
	}
	return n
}

// patchPart patches with a block that lies only partly in p.
func (o *overlay) patchPart(i int, p []byte, off int64) error {
	block := make([]byte, o.bs)
	if err := o.r.log.ReadBlocks(o.r.entries[i].log, block); err != nil {
		return err
	}
	if o.r.entries[i].escaped {
		disk.Unescape(block)
	}
	begin := o.begins(i)
	if begin < off {
		copy(p, block[off-begin:])
	} else {
		copy(p[begin-off:], block)
	}
	return nil
}

// hostOverlay is an overlay over a device that lies in a host file.
type hostOverlay struct {
	*overlay
	host device.HostRanger
}

// HostRange maps bytes that recovery does not change.
func (o *hostOverlay) HostRange(off, n int64) (f *os.File, fileOff, length int64) {
	if off < 0 || n <= 0 {
		return nil, 0, 0
	}
	begin := o.begins(o.search(off))
	if begin <= off {
		return nil, 0, 0
	}
	return o.host.HostRange(off, min(n, begin-off))
}
