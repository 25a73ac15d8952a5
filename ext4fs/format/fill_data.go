package format

import (
	"context"
	"crypto/sha256"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

const (
	// batchBytes is how much data is gathered for one write. Reading goes on
	// in other batches meanwhile.
	batchBytes = 1 << 20
	// largeBytes is how much of a large file one goroutine copies at a time.
	largeBytes = 8 << 20
)

// maxReaders bounds the goroutines that copy data: more do not make a disk or
// the memory faster.
const maxReaders = 8

// batch is a run of blocks that one goroutine fills and writes: n blocks from
// block skip of a piece on, over the following ones. More than a buffer holds
// are of one piece.
type batch struct {
	first uint32 // in pieces
	skip  uint32
	n     uint32
}

// copier copies the data of all files to the device.
type copier struct {
	m       *image
	batches []batch
	sums    [][sha256.Size]byte // by batch; nil: not wanted

	next atomic.Int64
	// noCopy: the host does not copy by itself.
	noCopy atomic.Bool

	mu   sync.Mutex // guards the below, and calls of Progress and Warn
	done ProgressInfo
	err  error
}

// copyData writes the data of all regular files, each once, in the order of the
// device. Where sums are wanted it returns one of all the data.
func (m *image) copyData(ctx context.Context, sums bool) (sum [sha256.Size]byte, err error) {
	c := &copier{m: m, batches: m.batches()}
	c.done = ProgressInfo{
		Files: int64(len(m.inline)), Bytes: m.inlineBytes, // read before
		TotalFiles: int64(m.files), TotalBytes: m.bytes,
	}
	if sums {
		c.sums = make([][sha256.Size]byte, len(c.batches))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for range min(max(runtime.GOMAXPROCS(0), 2), maxReaders, len(c.batches)) {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				c.fail(err)
				cancel()
			}
		})
	}
	wg.Wait()
	if c.err != nil || !sums {
		return sum, c.err
	}
	h := sha256.New()
	for i := range c.sums {
		h.Write(c.sums[i][:])
	}
	h.Sum(sum[:0])
	return sum, nil
}

func (c *copier) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// batches cuts the pieces into runs that lie together.
func (m *image) batches() []batch {
	bs := m.p.sb.BlockSize()
	most, large := uint32(batchBytes/bs), uint32(largeBytes/bs)
	var list []batch
	end := disk.BlockNum(0)
	for i, p := range m.pieces {
		k := len(list) - 1
		if k >= 0 && p.block == end && list[k].n+p.n <= most {
			list[k].n += p.n
		} else {
			for skip := uint32(0); skip < p.n; skip += min(large, p.n-skip) {
				list = append(list, batch{uint32(i), skip, min(large, p.n-skip)})
			}
		}
		end = p.block + disk.BlockNum(p.n)
	}
	return list
}

// run copies batches until there are none left.
func (c *copier) run(ctx context.Context) error {
	buf := make([]byte, batchBytes)
	for {
		i := int(c.next.Add(1) - 1)
		if i >= len(c.batches) {
			return nil
		}
		if err := c.batch(ctx, i, buf); err != nil {
			return err
		}
	}
}

// batch copies one batch.
func (c *copier) batch(ctx context.Context, i int, buf []byte) error {
	b := c.batches[i]
	bs := c.m.p.sb.BlockSize()
	var h hash.Hash
	if c.sums != nil {
		h = sha256.New()
		defer func() { h.Sum(c.sums[i][:0]) }()
	}
	if int(b.n)*bs > len(buf) {
		return c.large(ctx, b, buf, h)
	}
	buf = buf[:int(b.n)*bs]
	start := c.m.pieces[b.first].block + disk.BlockNum(b.skip)
	var done ProgressInfo
	rest, skip := buf, b.skip
	for k := b.first; len(rest) > 0; k, skip = k+1, 0 {
		p := &c.m.pieces[k]
		n := min(int(p.n-skip)*bs, len(rest))
		read, err := c.read(p, rest[:n], skip)
		if err != nil {
			return c.m.fileError(p.place, err)
		}
		if skip+uint32(n/bs) == p.n && c.lastPiece(p) {
			done.Files++
		}
		done.Bytes += int64(read)
		rest = rest[n:]
	}
	if h != nil {
		h.Write(buf)
	}
	if err := c.m.write(ctx, start, buf); err != nil {
		return err
	}
	c.progress(done, c.m.pieces[b.first].place)
	return nil
}

// large copies a batch of one file.
func (c *copier) large(ctx context.Context, b batch, buf []byte, h hash.Hash) error {
	m, p := c.m, &c.m.pieces[b.first]
	f, err := m.t.Open(m.order[p.place])
	if err != nil {
		return m.fileError(p.place, err)
	}
	defer f.Close()
	bs := int64(m.p.sb.BlockSize())
	off := (int64(p.logical) + int64(b.skip)) * bs
	end := off + int64(b.n)*bs
	to := int64(p.block)*bs + int64(b.skip)*bs - off // of the device, beyond that in the file
	size := m.node(p.place).Size
	total := min(end, size) - off
	if h == nil {
		n, err := c.copyHost(f, off, off+to, total/bs*bs)
		if err != nil {
			return m.fileError(p.place, err)
		}
		off += n / bs * bs
	}
	for ; off < end; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), end-off)]
		n := min(int64(len(buf)), size-off)
		if err := device.ReadFull(f, buf[:n], off); err != nil {
			return m.fileError(p.place, err)
		}
		clear(buf[n:])
		if h != nil {
			h.Write(buf)
		}
		if err := m.write(ctx, disk.BlockNum((off+to)/bs), buf); err != nil {
			return err
		}
	}
	done := ProgressInfo{Bytes: total}
	if b.skip+b.n == p.n && c.lastPiece(p) {
		done.Files++
		c.watchGrowth(p.place, f, size)
	}
	c.progress(done, p.place)
	return ctx.Err()
}

// copyHost lets the host copy between two of its files, and tells how much it
// did.
func (c *copier) copyHost(f tree.File, from, to, n int64) (int64, error) {
	h, off, ok := f.Host()
	if !ok || n == 0 || c.noCopy.Load() {
		return 0, nil
	}
	done, err := device.CopyHost(c.m.w, h, off+from, to, n)
	if err == nil && done == 0 {
		c.noCopy.Store(true)
	}
	return done, err
}

// lastPiece reports whether no data of its file comes after a piece.
func (c *copier) lastPiece(p *piece) bool {
	var room [1]span
	spans := c.m.spansOf(p.place, &room)
	last := spans[len(spans)-1]
	return uint64(p.logical)+uint64(p.n) == uint64(last.first)+uint64(last.n)
}

// progress counts what is done, lastly of the file at a place.
func (c *copier) progress(d ProgressInfo, at uint32) {
	if c.m.o.Progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Files += d.Files
	c.done.Bytes += d.Bytes
	c.done.Path = c.m.path(at)
	c.m.o.Progress(c.done)
}

// read fills p with the data of a piece from block skip on, with zeros behind
// the end of the file.
func (c *copier) read(pc *piece, p []byte, skip uint32) (n int, err error) {
	off := (int64(pc.logical) + int64(skip)) * int64(c.m.p.sb.BlockSize())
	size := c.m.node(pc.place).Size
	n = int(min(int64(len(p)), size-off))
	f, err := c.m.t.Open(c.m.order[pc.place])
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := device.ReadFull(f, p[:n], off); err != nil {
		return 0, err
	}
	clear(p[n:])
	if off+int64(n) == size {
		c.watchGrowth(pc.place, f, size)
	}
	return n, nil
}

// watchGrowth warns of a file that is longer than it was when it was found, if
// the source can tell. Its first bytes were taken.
func (c *copier) watchGrowth(at uint32, f tree.File, size int64) {
	if c.m.o.Warn == nil {
		return
	}
	if h, ok := f.(interface{ Found() int64 }); ok && h.Found() > size {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.m.o.Warn(c.m.path(at), &ChangedError{Planned: size, Found: h.Found()})
	}
}

// readInline reads the files that lie in their inodes.
func (m *image) readInline(ctx context.Context) error {
	m.inlineBuf = make([]byte, m.inlineBytes)
	const perTask = 256
	return m.share(ctx, (len(m.inline)+perTask-1)/perTask, func(_ *gather, i int) error {
		for k := i * perTask; k < min((i+1)*perTask, len(m.inline)); k++ {
			if err := m.readInlineFile(m.inline[k].place); err != nil {
				return m.fileError(m.inline[k].place, err)
			}
		}
		return nil
	})
}

func (m *image) readInlineFile(at uint32) error {
	f, err := m.t.Open(m.order[at])
	if err != nil {
		return err
	}
	defer f.Close()
	return device.ReadFull(f, m.inlineContent(at), 0)
}

// inlineContent is the content of a regular file that lies in its inode.
func (m *image) inlineContent(at uint32) []byte {
	off := m.inlineOffset(at)
	return m.inlineBuf[off : off+m.node(at).Size]
}
