package cache

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// WriteBack writes versions of distinct blocks to their places on dev, in the
// order of the disk and neighbours together. Their bytes must not change
// meanwhile. It sorts list, and does not sync. The error is a *WriteError, or
// that of ctx, which is looked at between writes.
func (c *Cache) WriteBack(ctx context.Context, dev device.Writer, list []*Buffer) error {
	slices.SortFunc(list, func(a, b *Buffer) int { return cmp.Compare(a.block, b.block) })
	p := scratch.Get().(*[]byte)
	defer scratch.Put(p)
	longest := max(len(*p)/c.blockSize, 1)
	for len(list) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 1
		for n < min(longest, len(list)) && list[n].block == list[n-1].block+1 {
			n++
		}
		if err := c.writeRun(dev, *p, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// writeRun writes neighbours in one piece: as they are if the device takes
// several buffers at once, else put together in p.
func (c *Cache) writeRun(dev device.Writer, p []byte, run []*Buffer) (err error) {
	c.writes.Add(1)
	c.written.Add(uint64(len(run)))
	off := int64(run[0].block) * int64(c.blockSize)
	v, vectored := dev.(device.VectorWriter)
	switch {
	case len(run) == 1:
		_, err = dev.WriteAt(run[0].data, off)
	case vectored:
		bufs := make([][]byte, len(run))
		for i, b := range run {
			bufs[i] = b.data
		}
		_, err = v.WriteVAt(bufs, off)
	default:
		p = p[:0]
		for _, b := range run {
			p = append(p, b.data...)
		}
		_, err = dev.WriteAt(p, off)
	}
	if err != nil {
		return &WriteError{Block: run[0].block, N: len(run), Err: err}
	}
	return nil
}

// WriteError says which blocks could not be written.
type WriteError struct {
	Block disk.BlockNum // the first
	N     int           // how many, in one write
	Err   error
}

func (e *WriteError) Error() string {
	if e.N == 1 {
		return fmt.Sprintf("write block %d: %v", e.Block, e.Err)
	}
	return fmt.Sprintf("write %d blocks from %d on: %v", e.N, e.Block, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }
