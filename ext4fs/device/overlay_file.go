package device

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// An overlay file keeps what was written above a base that stays as it is. It
// is sparse: data lies at the place it has in the base, behind the index, which
// has a bit for every chunk of 4 KiB that was written.
//
//	frame 0                    header: what the base is, and the state
//	frames 1 ... n             the index: 32640 bits each
//	from a multiple of 1 MiB   data: chunk i at i times 4096
//
// A frame is two pages of 4 KiB, which are written in turn:
//
//	0   sequence number, 64 bits: the larger one counts
//	8   number of the frame, 32 bits
//	12  CRC-32C of the page, with zeros in this place
//	16  content
//
// All numbers are little-endian. A bit is written only when the data it speaks
// of is durable, and no bit is ever taken back: what a crash leaves is what a
// disk would have kept, some of what was written since the last Sync and all
// from before it. A torn page loses against the other one of its frame. When the
// file was closed in good order the header says what sequence numbers to expect,
// and then a damaged page is an error and not a crash.
//
// Not supported: bases that change their size, and checksums of the data.

const (
	overlayChunk = 4096 // bytes for which the index has a bit
	overlayPage  = 4096 // bytes of a page of a frame
	overlayHead  = 16   // bytes before the content of a page
	overlayWords = (overlayPage - overlayHead) / 8
	overlayBits  = overlayWords * 64
	overlayAlign = 1 << 20 // of the data
)

// OverlayFile is a Writer whose changes go to a file, above a base that is only
// read. All methods but Close and Commit are safe for concurrent use. Durable is
// what Sync covered; a Sync costs two flushes when chunks are new, and else one.
type OverlayFile struct {
	base   Device
	store  Writer // the whole file
	file   *os.File
	path   string
	head   overlayHeader
	frame  overlayFrame // of the header
	data   int64        // where the data starts in store
	size   int64        // of the base
	pages  []atomic.Pointer[overlayIndex]
	chunks atomic.Int64 // that are in the file

	// fresh is held for reading by writes of whole new chunks, and for writing
	// by those that fill up a chunk from the base.
	fresh sync.RWMutex

	syncing sync.Mutex // held by Sync; guards head, frame, broken, frames of pages
	broken  error      // the first error of Sync
	closed  bool
}

// overlayIndex is the index of overlayBits chunks.
type overlayIndex struct {
	words [overlayWords]atomic.Uint64
	// kept are the bits of words that are durable.
	kept [overlayWords]atomic.Uint64
	// version grows with every change of words, after it; saved is the one
	// that is durable. Both only tell Sync what to write.
	version, saved atomic.Uint64
	frame          overlayFrame
}

var (
	_ Writer       = (*OverlayFile)(nil)
	_ Discarder    = (*OverlayFile)(nil)
	_ Zeroer       = (*OverlayFile)(nil)
	_ VectorWriter = (*OverlayFile)(nil)
	_ SyncWriter   = (*OverlayFile)(nil)
	_ HostRanger   = (*OverlayFile)(nil)
)

// Size is the size of the base.
func (o *OverlayFile) Size() int64 { return o.size }

// Path is where the file is.
func (o *OverlayFile) Path() string { return o.path }

// Written is how many bytes of the base the file stands for: whole chunks of
// 4 KiB. Zeros count, though they take no space.
func (o *OverlayFile) Written() int64 { return o.chunks.Load() * overlayChunk }

// has reports whether a chunk is in the file.
func (o *OverlayFile) has(i int64) bool {
	p := o.pages[i/overlayBits].Load()
	if p == nil {
		return false
	}
	bit := i % overlayBits
	return p.words[bit/64].Load()>>(bit%64)&1 != 0
}

// run is how many of the n bytes at off lie at the same side as the first one,
// and whether that is the file.
func (o *OverlayFile) run(off, n int64) (int64, bool) {
	first, last := off/overlayChunk, (off+n-1)/overlayChunk
	own := o.has(first)
	for i := first + 1; i <= last; i++ {
		if w, ok := o.word(i); ok && last-i >= 63 && (own && w == ^uint64(0) || !own && w == 0) {
			i += 63
			continue
		}
		if o.has(i) != own {
			return i*overlayChunk - off, own
		}
	}
	return n, own
}

// word is the 64 bits from chunk i on, if that is where a word starts.
func (o *OverlayFile) word(i int64) (uint64, bool) {
	bit := i % overlayBits
	if bit%64 != 0 {
		return 0, false
	}
	p := o.pages[i/overlayBits].Load()
	if p == nil {
		return 0, true
	}
	return p.words[bit/64].Load(), true
}

// ReadAt reads what was written, and the base elsewhere.
func (o *OverlayFile) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	want := len(b)
	b = b[:min(int64(len(b)), max(o.size-off, 0))]
	for done := 0; done < len(b); {
		at := off + int64(done)
		n, own := o.run(at, int64(len(b)-done))
		part := b[done:][:n]
		var k int
		var err error
		if own {
			k, err = o.store.ReadAt(part, o.data+at)
		} else {
			k, err = o.base.ReadAt(part, at)
		}
		done += k
		if k < len(part) {
			return done, unexpected(err)
		}
	}
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// WriteAt writes to the file. Of chunks that are new and written in part the
// rest is read from the base, whose errors are returned.
func (o *OverlayFile) WriteAt(b []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(b)), o.size); err != nil {
		return 0, err
	}
	done := 0
	err := o.put(off, int64(len(b)), func() (err error) {
		done, err = o.store.WriteAt(b, o.data+off)
		return err
	})
	return done, err
}

// WriteVAt is WriteAt of several buffers.
func (o *OverlayFile) WriteVAt(bufs [][]byte, off int64) (int, error) {
	n := total(bufs)
	if err := inside("write", off, n, o.size); err != nil {
		return 0, err
	}
	done := 0
	err := o.put(off, n, func() (err error) {
		done, err = writeV(o.store, bufs, o.data+off)
		return err
	})
	return done, err
}

// WriteSyncAt makes one write durable, alone if its chunks are not new.
func (o *OverlayFile) WriteSyncAt(b []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(b)), o.size); err != nil {
		return 0, err
	}
	if o.durable(off, int64(len(b))) {
		if err := WriteSync(o.store, b, o.data+off); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	n, err := o.WriteAt(b, off)
	if err == nil {
		err = o.Sync()
	}
	return n, err
}

// durable reports whether the bits of all these bytes are there and durable.
func (o *OverlayFile) durable(off, n int64) bool {
	if n == 0 {
		return true
	}
	for i := off / overlayChunk; i <= (off+n-1)/overlayChunk; i++ {
		p := o.pages[i/overlayBits].Load()
		bit := i % overlayBits
		if p == nil || p.kept[bit/64].Load()>>(bit%64)&1 == 0 {
			return false
		}
	}
	return true
}

// Zero makes the range read as zeros: a hole of the file, where whole chunks
// are concerned.
func (o *OverlayFile) Zero(off, n int64) error {
	if err := inside("zero", off, n, o.size); err != nil {
		return err
	}
	return o.put(off, n, func() error { return Zero(o.store, o.data+off, n) })
}

// Discard gives space of the file back. What is in the base stays.
func (o *OverlayFile) Discard(off, n int64) error {
	if err := inside("discard", off, n, o.size); err != nil {
		return err
	}
	for n > 0 {
		k, own := o.run(off, n)
		if own {
			if err := Discard(o.store, o.data+off, k); err != nil {
				return err
			}
		}
		off, n = off+k, n-k
	}
	return nil
}

// put makes the n bytes at off part of the file, which write writes there. The
// bits follow when everything is written: a reader sees the old or the new.
func (o *OverlayFile) put(off, n int64, write func() error) error {
	if n == 0 {
		return nil
	}
	if k, own := o.run(off, n); own && k == n {
		return write()
	}
	end := min(off+n, o.size)
	head := off%overlayChunk != 0 && !o.has(off/overlayChunk)
	tail := end%overlayChunk != 0 && end < o.size && !o.has(end/overlayChunk)
	if head || tail {
		// Two writes into the same new chunk must not both fill it up.
		o.fresh.Lock()
		defer o.fresh.Unlock()
		first, last := off/overlayChunk, (end-1)/overlayChunk
		if err := o.fill(first, head); err != nil {
			return err
		}
		if err := o.fill(last, tail && (last != first || !head)); err != nil {
			return err
		}
	} else {
		o.fresh.RLock()
		defer o.fresh.RUnlock()
	}
	if err := write(); err != nil {
		return err
	}
	o.mark(off/overlayChunk, (end-1)/overlayChunk)
	return nil
}

// fill copies a chunk from the base, unless it is in the file by now. fresh is
// held.
func (o *OverlayFile) fill(i int64, want bool) error {
	if !want || o.has(i) {
		return nil
	}
	off := i * overlayChunk
	var buf [overlayChunk]byte
	b := buf[:min(overlayChunk, o.size-off)]
	if n, err := o.base.ReadAt(b, off); n < len(b) {
		return unexpected(err)
	}
	n, err := o.store.WriteAt(b, o.data+off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// mark sets the bits of chunks.
func (o *OverlayFile) mark(first, last int64) {
	for i := first; i <= last; {
		p := o.page(i / overlayBits)
		end := min(last, i/overlayBits*overlayBits+overlayBits-1)
		added := int64(0)
		for ; i <= end; i++ {
			bit := i % overlayBits
			mask := uint64(1) << (bit % 64)
			if p.words[bit/64].Or(mask)&mask == 0 {
				added++
			}
		}
		if added > 0 {
			o.chunks.Add(added)
			p.version.Add(1)
		}
	}
}

// page is a page of the index, made if there is none.
func (o *OverlayFile) page(k int64) *overlayIndex {
	if p := o.pages[k].Load(); p != nil {
		return p
	}
	p := &overlayIndex{frame: overlayFrame{number: uint32(k) + 1}}
	if o.pages[k].CompareAndSwap(nil, p) {
		return p
	}
	return o.pages[k].Load()
}

// HostRange maps what was written to the file, and the rest as the base does.
func (o *OverlayFile) HostRange(off, n int64) (*os.File, int64, int64) {
	if off < 0 || n <= 0 || off >= o.size {
		return nil, 0, 0
	}
	n, own := o.run(off, min(n, o.size-off, hostRangeMax))
	h, ok := o.base.(HostRanger)
	at := off
	if own {
		at += o.data
		h, ok = o.store.(HostRanger)
	}
	if !ok {
		return nil, 0, 0
	}
	return h.HostRange(at, n)
}

// Sync makes everything durable that was written: first the data, then the
// index that speaks of it. Once it fails it always does.
func (o *OverlayFile) Sync() error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	return o.sync()
}

// sync is Sync under its lock.
func (o *OverlayFile) sync() error {
	if o.broken != nil {
		return o.broken
	}
	// The bits are taken before the flush: those that come later may speak
	// of data that it does not cover.
	type change struct {
		p       *overlayIndex
		version uint64
		page    []byte
	}
	var list []change
	for k := range o.pages {
		p := o.pages[k].Load()
		if p == nil || p.version.Load() == p.saved.Load() {
			continue
		}
		version := p.version.Load()
		list = append(list, change{p, version, p.content()})
	}
	if o.broken = o.store.Sync(); o.broken != nil || len(list) == 0 {
		return o.broken
	}
	for _, c := range list {
		if o.broken = c.p.frame.write(o.store, c.page); o.broken != nil {
			return o.broken
		}
	}
	if o.broken = o.store.Sync(); o.broken != nil {
		return o.broken
	}
	for _, c := range list {
		for i := range c.p.kept {
			c.p.kept[i].Store(le.Uint64(c.page[overlayHead+8*i:]))
		}
		c.p.saved.Store(c.version)
	}
	return nil
}

// content is a page with the bits in it.
func (p *overlayIndex) content() []byte {
	b := make([]byte, overlayPage)
	for i := range p.words {
		le.PutUint64(b[overlayHead+8*i:], p.words[i].Load())
	}
	return b
}

// Close makes everything durable, notes in the file that it is complete, and
// closes it. The base stays open.
func (o *OverlayFile) Close() error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	o.closed = true
	err := o.sync()
	if err == nil && o.head.state == overlayOpen {
		err = o.setState(overlayClean)
	}
	if o.file != nil {
		unlockImage(o.file)
		if closing := o.file.Close(); err == nil {
			err = closing
		}
	}
	return err
}
