package verity

import (
	"context"
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// window is how much content one worker reads and hashes at a time.
const window = 1 << 20

// piece is a window of content on its way through a worker.
type piece struct {
	off    int64
	buf    []byte // of whole blocks
	length int    // of content in buf; the rest is zero
	hashes []byte
	err    error
	done   chan struct{}
}

// hashContent reads and hashes the content on several workers and hands the
// hashes, in order, to content. All workers have ended when it returns.
func (c *checker) hashContent(ctx context.Context, d *disk.VerityDescriptor) error {
	ctx, cancel := context.WithCancel(ctx)
	// Two pieces per worker keep all of them busy while the oldest is used.
	count := 2 * c.opt.Workers
	order := make(chan *piece, count) // in content order, for the loop below
	work := make(chan *piece, count)
	free := make(chan *piece, count)
	for range count {
		free <- &piece{buf: make([]byte, max(window, c.shape.block))}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { c.feed(ctx, free, work, order) })
	for range c.opt.Workers {
		wg.Go(func() {
			h, zero := newHasher(d), newZeroHash(d)
			for p := range work {
				c.hashPiece(h, zero, p)
				close(p.done)
			}
		})
	}
	for p := range order {
		<-p.done
		if p.err != nil {
			return fmt.Errorf("read content at byte %d: %w", p.off, p.err)
		}
		for i := 0; i*c.shape.digest < len(p.hashes); i++ {
			h := p.hashes[i*c.shape.digest:][:c.shape.digest]
			if err := c.content(h, p.off+int64(i)*c.shape.block); err != nil {
				return err
			}
		}
		if c.opt.Progress != nil {
			c.opt.Progress(p.off+int64(p.length), c.shape.size)
		}
		free <- p
	}
	return ctx.Err()
}

// feed cuts the content into pieces until it ends or nobody wants more.
func (c *checker) feed(ctx context.Context, free, work, order chan *piece) {
	defer close(work)
	defer close(order)
	for off := int64(0); off < c.shape.size; {
		select {
		case <-ctx.Done():
			return
		case p := <-free:
			if ctx.Err() != nil {
				return
			}
			p.off, p.done = off, make(chan struct{})
			p.length = int(min(int64(len(p.buf)), c.shape.size-off))
			off += int64(p.length)
			order <- p // never blocks: it has room for all pieces there are
			work <- p
		}
	}
}

// hashPiece reads a piece and hashes its blocks. What follows the content in
// its last block counts as zeros, whatever is on disk.
func (c *checker) hashPiece(h *hasher, zero *zeroHash, p *piece) {
	p.hashes = p.hashes[:0]
	if p.err = device.ReadFull(c.r, p.buf[:p.length], p.off); p.err != nil {
		return
	}
	n := int(roundUp(int64(p.length), c.shape.block))
	clear(p.buf[p.length:n])
	for at := 0; at < n; at += int(c.shape.block) {
		block := p.buf[at:][:c.shape.block]
		if zero.is(block) {
			p.hashes = append(p.hashes, zero.hash...)
			continue
		}
		p.hashes = h.sum(p.hashes, block)
	}
}

// zeroHash is the hash of a block of zeros: the blocks of a hole need not be
// hashed one by one.
type zeroHash struct {
	block, hash []byte
}

func newZeroHash(d *disk.VerityDescriptor) *zeroHash {
	z := &zeroHash{block: make([]byte, d.BlockSize())}
	z.hash = newHasher(d).sum(nil, z.block)
	return z
}

func (z *zeroHash) is(block []byte) bool {
	return block[0] == 0 && string(block) == string(z.block)
}
