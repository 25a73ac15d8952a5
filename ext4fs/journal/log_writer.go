package journal

import (
	"context"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxLogWrite is the largest single write to the log, in bytes.
const maxLogWrite = 1 << 20

// logWriter writes one transaction behind the head of a ring, in large pieces.
// Nothing of the ring changes but its buffer: that comes with the commit.
type logWriter struct {
	*ring
	ctx   context.Context
	id    uint32
	at    uint32 // log block of the first byte of buf
	fill  uint32 // blocks in buf
	wrote uint32 // blocks so far
	sum   uint32 // CRC-32 of the transaction, with CHECKSUM
	err   error  // the first
}

func (r *ring) newWriter(ctx context.Context, id uint32) *logWriter {
	if r.buf == nil {
		r.buf = make([]byte, max(maxLogWrite, r.format.BlockSize))
	}
	return &logWriter{ring: r, ctx: ctx, id: id, at: r.head, sum: disk.JournalTransactionSeed}
}

// slot is the place for the next block of the log. It is written when the
// buffer is full, or at the end of the ring.
func (w *logWriter) slot() []byte {
	bs := uint32(w.format.BlockSize)
	if (w.fill+1)*bs > uint32(len(w.buf)) || w.at+w.fill >= w.last {
		w.flush()
	}
	b := w.buf[w.fill*bs:][:bs]
	w.fill++
	w.wrote++
	return b
}

// flush writes what is in the buffer.
func (w *logWriter) flush() {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil && w.fill > 0 {
		w.err = w.w.WriteBlocks(w.at, w.buf[:int(w.fill)*w.format.BlockSize])
	}
	w.at = w.after(w.at, w.fill)
	w.fill = 0
}

func (w *logWriter) revokes(blocks []disk.BlockNum) {
	for len(blocks) > 0 && w.err == nil {
		blocks = blocks[w.format.EncodeRevoke(w.slot(), w.id, blocks):]
	}
}

// blocks writes descriptors and, behind each, the blocks it describes.
func (w *logWriter) blocks(frozen []*cache.Buffer) {
	tags := make([]disk.JournalTag, 0, w.format.MaxTags())
	for len(frozen) > 0 && w.err == nil {
		group := frozen[:min(len(frozen), cap(tags))]
		frozen = frozen[len(group):]
		tags = tags[:0]
		for _, b := range group {
			tags = append(tags, w.tag(b))
		}
		desc := w.slot()
		w.format.EncodeDescriptor(desc, w.id, tags)
		w.extendSum(desc)
		for i, b := range group {
			p := w.slot()
			copy(p, b.Data())
			if tags[i].Flags&disk.JournalTagEscape != 0 {
				disk.Escape(p)
			}
			w.extendSum(p)
		}
	}
}

// tag is for one block; its checksum is that of the copy in the log.
func (w *logWriter) tag(b *cache.Buffer) disk.JournalTag {
	t := disk.JournalTag{Block: b.Block()}
	data := b.Data()
	if disk.NeedsEscape(data) {
		t.Flags = disk.JournalTagEscape
		data = append([]byte(nil), data...)
		disk.Escape(data)
	}
	t.Checksum = w.format.TagChecksum(w.id, data)
	return t
}

func (w *logWriter) extendSum(b []byte) {
	if w.format.HasTransactionChecksum() {
		w.sum = disk.CRC32BE(w.sum, b)
	}
}

// clearCommit zeroes the place of the commit block, and writes all that is to
// be durable before that comes. Its checksum is over the whole block and all of
// it but the start is zeros: if only the first sector arrives, it must not be
// followed by sectors of an earlier lap. The kernel takes care of that when it
// reads; e2fsck 1.47 gives up the transaction, and calls the file system
// damaged.
func (w *logWriter) clearCommit() {
	if !w.format.HasTails() {
		w.flush()
		return
	}
	clear(w.slot())
	place := w.after(w.at, w.fill-1)
	w.flush()
	w.at = place
	w.wrote--
}

// commit writes the commit block, which everything else must be durable for.
func (w *logWriter) commit(seconds uint64, nanos uint32) {
	c := disk.JournalCommitBlock{Sequence: w.id, Seconds: seconds, Nanoseconds: nanos}
	if w.format.HasTransactionChecksum() {
		c.ChecksumType, c.ChecksumSize = disk.JournalChecksumCRC32, disk.JournalChecksumCRC32Size
		c.Checksum[0] = w.sum
	}
	w.format.EncodeCommit(w.slot(), c)
	w.flush()
}
