package journal

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FastRecord is one record of the fast-commit area.
type FastRecord struct {
	Block  uint32 // log block
	Offset int    // in the block
	Len    int    // of the value
	Record disk.FCRecord
	// ChecksumOK is for a TAIL: whether its checksum fits the records before.
	ChecksumOK bool
	Computed   uint32
}

// WalkFastCommits yields the records of the fast-commit area, whatever
// transaction they belong to, up to the first block that does not start with a
// known record. A record that makes no sense comes as an error, and the walk
// goes on with the next block. Records are valid until the next one.
func WalkFastCommits(log Log, blockSize int) iter.Seq2[FastRecord, error] {
	return func(yield func(FastRecord, error) bool) {
		w, err := newWalker(log, blockSize)
		if err != nil {
			yield(FastRecord{Block: log.Super()}, err)
			return
		}
		sb, _, err := ReadSuperblock(log, blockSize)
		if err != nil || sb.FastBlocks() == 0 {
			return
		}
		sum := uint32(0)
		for at := sb.Last() + 1; at < sb.MaxLen; at++ {
			b, err := w.rd.block(at)
			if err != nil {
				if !yield(FastRecord{Block: at}, err) {
					return
				}
				continue
			}
			if !fastBlock(at, b, &sum, yield) {
				return
			}
		}
	}
}

// fastBlock yields the records of one block; it returns false to end the walk.
func fastBlock(at uint32, b []byte, sum *uint32, yield func(FastRecord, error) bool) bool {
	for raw, err := range disk.FCRecords(b) {
		rec := FastRecord{Block: at, Offset: raw.Offset}
		if err == nil {
			rec.Len = len(raw.Value())
			rec.Record, err = raw.Decode()
		}
		if err != nil {
			if raw.Offset == 0 && (raw.Tag == 0 || raw.Tag > disk.FCTagHead) {
				return false // nothing was ever written here
			}
			return yield(rec, &BlockError{at, err})
		}
		if tail, ok := rec.Record.(*disk.FCTail); ok {
			rec.Computed = disk.FCTailSum(*sum, raw)
			rec.ChecksumOK = tail.Checksum == rec.Computed
			*sum = 0
		} else {
			*sum = disk.FCSum(*sum, raw)
		}
		if !yield(rec, nil) {
			return false
		}
	}
	return true
}
