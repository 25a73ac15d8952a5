package format

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// metaBytes is how much metadata is gathered for one write.
const metaBytes = 1 << 20

// firstGather is how long its buffer is at first.
const firstGather = 32 << 10

// gather joins blocks that are made one after the other, and lie so, into few
// writes.
type gather struct {
	m     *image
	ctx   context.Context
	buf   []byte
	start disk.BlockNum
	n     int // bytes in buf
}

func (m *image) newGather(ctx context.Context) *gather { return &gather{m: m, ctx: ctx} }

// blocks gives room for up to n blocks from bn on, at least one: whole blocks
// of any content, to be filled before the next call.
func (g *gather) blocks(bn disk.BlockNum, n uint32) ([]byte, error) {
	bs := g.m.p.sb.BlockSize()
	most := max(metaBytes, bs)
	if g.n == most || g.n > 0 && bn != g.start+disk.BlockNum(g.n/bs) {
		if err := g.flush(); err != nil {
			return nil, err
		}
	}
	if g.n == 0 {
		g.start = bn
	}
	size := int(min(uint64(n), uint64((most-g.n)/bs))) * bs
	g.grow(g.n+size, most)
	g.n += size
	return g.buf[g.n-size : g.n : g.n], nil
}

// grow makes the buffer at least n bytes long, and never longer than most: an
// empty file system has only a few blocks to gather.
func (g *gather) grow(n, most int) {
	if n <= len(g.buf) {
		return
	}
	buf := make([]byte, min(most, max(n, 2*len(g.buf), firstGather)))
	copy(buf, g.buf[:g.n])
	g.buf = buf
}

// zeroed gives one block of zeros.
func (g *gather) zeroed(bn disk.BlockNum) ([]byte, error) {
	b, err := g.blocks(bn, 1)
	clear(b)
	return b, err
}

func (g *gather) flush() error {
	if g.n == 0 {
		return g.ctx.Err()
	}
	p := g.buf[:g.n]
	g.n = 0
	return g.m.write(g.ctx, g.start, p)
}

// share lets goroutines do tasks 0 to n-1, each with a gather of its own, and
// gives the first error.
func (m *image) share(ctx context.Context, n int, task func(g *gather, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	work := func() error {
		g := m.newGather(ctx)
		for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
			if err := task(g, i); err != nil {
				return err
			}
			if err := g.flush(); err != nil {
				return err
			}
		}
		return nil
	}
	if n == 1 {
		return work()
	}
	for range min(runtime.GOMAXPROCS(0), maxReaders, n) {
		wg.Go(func() {
			if err := work(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
				cancel()
			}
		})
	}
	wg.Wait()
	return first
}

// writeMeta writes the blocks of directories, links, attributes and maps.
func (m *image) writeMeta(ctx context.Context) error {
	if err := m.attrs.seal(m.p.sb.Seed(), m.firstValue); err != nil {
		return err
	}
	if err := m.writeDirs(ctx); err != nil {
		return err
	}
	g := m.newGather(ctx)
	for _, step := range []func(*gather) error{m.writeSymlinks, m.writeAttrs, m.writeValues, m.writeMaps} {
		if err := step(g); err != nil {
			return err
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	return nil
}

// dirsPerTask keeps tasks large enough to be worth a write of their own.
const dirsPerTask = 128

func (m *image) writeDirs(ctx context.Context) error {
	n := (len(m.content.dirs) + dirsPerTask - 1) / dirsPerTask
	return m.share(ctx, n, func(g *gather, i int) error {
		b, err := m.newBuilder()
		if err != nil {
			return err
		}
		for k := i * dirsPerTask; k < min((i+1)*dirsPerTask, len(m.content.dirs)); k++ {
			d := &m.content.dirs[k]
			if d.blocks == 0 {
				continue
			}
			if err := m.writeDir(g, b, d); err != nil {
				return m.fileError(d.place, err)
			}
		}
		return nil
	})
}

// self is what directory blocks tell of their directory.
func (m *image) self(d *dirRec) dir.Self {
	n := m.inode(d.place)
	return dir.Self{Inode: n, Parent: m.inode(d.parent), Seed: m.inodeSeed(n)}
}

// child is what an entry of a directory leads to.
func (m *image) child(entries []tree.Entry) func(i int) dir.Child {
	return func(i int) dir.Child {
		e := &entries[i]
		at := m.placeOf(e.ID)
		return dir.Child{Name: e.Name, Inode: m.inode(at), Type: disk.EntryType(m.node(at).Mode)}
	}
}

func (m *image) writeDir(g *gather, b *dir.Builder, d *dirRec) error {
	entries := m.entries(d.place)
	plan, err := m.planDir(b, d.place, entries)
	if err != nil {
		return err
	}
	self, child := m.self(d), m.child(entries)
	for _, r := range m.runsOf(m.ref[d.place], []span{{0, uint32(d.blocks)}}) {
		for done := uint32(0); done < r.Len; {
			p, err := g.blocks(r.Physical+disk.BlockNum(done), r.Len-done)
			if err != nil {
				return err
			}
			if err := plan.Put(p, r.Logical+disk.LogicalNum(done), self, child); err != nil {
				return err
			}
			done += uint32(len(p) / m.p.sb.BlockSize())
		}
	}
	return nil
}

// writeSymlinks writes the targets that do not fit into an inode.
func (m *image) writeSymlinks(g *gather) error {
	for at, ref := range m.ref {
		if ref == 0 || !m.node(uint32(at)).IsSymlink() {
			continue
		}
		runs := m.runsOf(ref, []span{{0, 1}})
		p, err := g.zeroed(runs[0].Physical)
		if err != nil {
			return err
		}
		copy(p, m.t.Target(m.order[at]))
	}
	return nil
}

// writeAttrs writes attribute blocks.
func (m *image) writeAttrs(g *gather) error {
	seed, sums := m.p.sb.Seed(), m.p.sb.HasMetadataCsum()
	for i := range m.attrs.blocks {
		b := &m.attrs.blocks[i]
		block, err := m.attrs.lay(seed, m.firstValue, m.attrs.record(), b.set.entries)
		if err != nil {
			return err
		}
		p, err := g.zeroed(m.attrBlocks[i])
		if err != nil {
			return err
		}
		copy(p, block)
		xattr.SealBlock(p, m.attrBlocks[i], b.refs, seed, sums)
	}
	return nil
}

// writeValues writes what value inodes hold.
func (m *image) writeValues(g *gather) error {
	bs := m.p.sb.BlockSize()
	for i := range m.attrs.values {
		v := m.attrs.values[i].value
		for _, r := range m.runsOf(m.values[i], []span{{0, uint32(m.blocksOf(int64(len(v))))}}) {
			for k := range r.Len {
				p, err := g.zeroed(r.Physical + disk.BlockNum(k))
				if err != nil {
					return err
				}
				if off := (int(r.Logical) + int(k)) * bs; off < len(v) {
					copy(p, v[off:])
				}
			}
		}
	}
	return nil
}

// writeMaps writes the blocks of extent trees and of pointers, and makes the
// roots.
func (m *image) writeMaps(g *gather) error {
	put := func(bn disk.BlockNum, node []byte) error {
		p, err := g.blocks(bn, 1)
		copy(p, node)
		return err
	}
	build := extent.Build
	if !m.extents() {
		build = indirect.Build
	}
	for i := range m.maps {
		b := &m.maps[i]
		if err := build(m.owner(b.owner), m.p.sb.BlockSize(), b.runs, b.nodes, b.root[:], put); err != nil {
			return err
		}
	}
	return nil
}

func (m *image) owner(n disk.InodeNum) extent.Owner {
	return extent.Owner{
		Inode: n, Seed: m.inodeSeed(n), HasChecksum: m.p.sb.HasMetadataCsum(),
		FirstBlock: disk.BlockNum(m.p.sb.FirstDataBlock), Blocks: m.p.sb.Blocks(),
	}
}
