package verity

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Options of Verify. The zero value is right for most.
type Options struct {
	// MaxFailures is how many failures are kept with their place; the others
	// are only counted. 0 is 100.
	MaxFailures int
	// Workers hash at the same time; 0 is one per processor, at most 16.
	Workers int
	// Progress is called now and then, by one goroutine at a time, with the
	// bytes of content that are done.
	Progress func(done, total int64)
}

// Failure is a block whose hash is not the one stored above it.
type Failure struct {
	Level  int   // -1: content; 0 and up: tree, 0 next to the content
	Offset int64 // of the block in the file's logical space
}

// String names the place.
func (f Failure) String() string {
	if f.Level < 0 {
		return fmt.Sprintf("content at byte %d", f.Offset)
	}
	return fmt.Sprintf("hash tree level %d at byte %d", f.Level, f.Offset)
}

// Report says what Verify found.
type Report struct {
	Digest   string // the file's digest by its descriptor; see Digest
	RootHash []byte // by the descriptor
	Computed []byte // the root hash that the content gives
	Blocks   int64  // of content and tree that were checked
	Failed   int64  // of those that do not fit the hash stored above them
	Failures []Failure
}

// OK reports whether the kernel would give out every byte of the file, and
// the content has the root hash.
func (r *Report) OK() bool { return r.Failed == 0 && r.ContentOK() }

// ContentOK reports whether the content has the root hash, whatever state the
// stored tree is in.
func (r *Report) ContentOK() bool { return bytes.Equal(r.RootHash, r.Computed) }

// Verify reads content and tree of the file in order and checks them. r reads
// its logical space; holes give zeros. A failure is told in the report and is
// no error. Memory is bounded: one block per level and a window of content.
// Errors are the context's, what r gives, or a *disk.CorruptError when the
// tree cannot be where l says.
func Verify(ctx context.Context, r io.ReaderAt, l Layout, d *disk.VerityDescriptor, o Options) (*Report, error) {
	s, err := newShape(d)
	if err != nil {
		return nil, err
	}
	if l.Tree < s.size || l.Descriptor < l.Tree || s.bytes() > l.Descriptor-l.Tree {
		return nil, corrupt("tree of %d bytes at byte %d before a descriptor at %d", s.bytes(), l.Tree, l.Descriptor)
	}
	if o.MaxFailures <= 0 {
		o.MaxFailures = 100
	}
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), 16)
	}
	c := newChecker(r, l, d, s, o)
	if err := c.hashContent(ctx, d); err != nil {
		return nil, err
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	return c.report, nil
}

// checker goes over the tree from the left while content hashes come in.
type checker struct {
	r      io.ReaderAt
	layout Layout
	shape  shape
	opt    Options
	hash   *hasher
	report *Report
	levels []level
	root   []byte // computed from content
}

// level is where the walk is in one level of the tree.
type level struct {
	stored  []byte // the block as it is on disk; empty before the first
	next    int64  // the block to read when stored is used up
	used    int64  // hashes of stored that were compared
	rebuilt []byte // the block as the content makes it, so far
}

func newChecker(r io.ReaderAt, l Layout, d *disk.VerityDescriptor, s shape, o Options) *checker {
	c := &checker{
		r: r, layout: l, shape: s, opt: o, hash: newHasher(d),
		report: &Report{Digest: Digest(d), RootHash: d.RootHash},
		levels: make([]level, len(s.counts)),
	}
	for i := range c.levels {
		c.levels[i].stored = make([]byte, 0, s.block)
		c.levels[i].rebuilt = make([]byte, 0, s.block)
	}
	return c
}

// content takes the hash of the next content block.
func (c *checker) content(h []byte, off int64) error {
	c.report.Blocks++
	if err := c.compare(0, h, Failure{Level: -1, Offset: off}); err != nil {
		return err
	}
	c.rebuild(0, h)
	return nil
}

// compare checks the hash of a block against what the stored tree says one
// level up, n; f is the block's place. It reads that level's next block when
// the last one is used up, which has to be checked in turn.
func (c *checker) compare(n int, h []byte, f Failure) error {
	want := c.report.RootHash
	if n < len(c.levels) {
		v := &c.levels[n]
		if len(v.stored) == 0 || v.used == c.shape.fan {
			if err := c.read(n); err != nil {
				return err
			}
		}
		want = v.stored[v.used*int64(c.shape.digest):][:c.shape.digest]
		v.used++
	}
	if !bytes.Equal(h, want) {
		c.report.Failed++
		if len(c.report.Failures) < c.opt.MaxFailures {
			c.report.Failures = append(c.report.Failures, f)
		}
	}
	return nil
}

// read takes the next stored block of level n and checks it.
func (c *checker) read(n int) error {
	v := &c.levels[n]
	off := c.layout.Tree + c.shape.starts[n] + v.next*c.shape.block
	v.stored = v.stored[:c.shape.block]
	if err := device.ReadFull(c.r, v.stored, off); err != nil {
		return fmt.Errorf("read verity tree at byte %d: %w", off, err)
	}
	v.next++
	v.used = 0
	c.report.Blocks++
	var sum [64]byte
	return c.compare(n+1, c.hash.sum(sum[:0], v.stored), Failure{Level: n, Offset: off})
}

// rebuild puts the hash of a block into the tree that the content makes.
func (c *checker) rebuild(n int, h []byte) {
	if n == len(c.levels) {
		c.root = append(c.root[:0], h...)
		return
	}
	v := &c.levels[n]
	v.rebuilt = append(v.rebuilt, h...)
	if int64(len(v.rebuilt)) == c.shape.fan*int64(c.shape.digest) {
		c.closeBlock(n)
	}
}

// closeBlock fills the rebuilt block of level n up with zeros and hashes it
// into the level above.
func (c *checker) closeBlock(n int) {
	v := &c.levels[n]
	used := len(v.rebuilt)
	v.rebuilt = v.rebuilt[:c.shape.block]
	clear(v.rebuilt[used:])
	var sum [64]byte
	h := c.hash.sum(sum[:0], v.rebuilt)
	v.rebuilt = v.rebuilt[:0]
	c.rebuild(n+1, h)
}

// finish closes what the content left open, from the bottom up. An empty file
// has a root hash of zeros.
func (c *checker) finish() error {
	for n := range c.levels {
		if len(c.levels[n].rebuilt) > 0 {
			c.closeBlock(n)
		}
	}
	if c.shape.size == 0 {
		c.root = make([]byte, c.shape.digest)
		if !bytes.Equal(c.root, c.report.RootHash) {
			c.report.Failed++
			c.report.Failures = append(c.report.Failures, Failure{Level: -1})
		}
	}
	c.report.Computed = c.root
	return nil
}
