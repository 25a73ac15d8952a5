package journal

import (
	"context"
	"fmt"
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// State says what recovery makes of a record.
type State uint8

const (
	// StateOld: of an earlier time; recovery does not come there.
	StateOld State = iota
	// StateLive: of a complete transaction that is to be replayed.
	StateLive
	// StateOpen: of the transaction after those, which has no good commit
	// block.
	StateOpen
)

// String names the state.
func (s State) String() string {
	return [...]string{"old", "live", "open"}[s%3]
}

// Record is one descriptor with its data, or one other block of the log.
type Record struct {
	Block    uint32 // log block
	Count    uint32 // blocks from there on, around the ring
	Type     disk.JournalBlockType
	Sequence uint32
	State    State
	// Checksum is that of the block itself: of descriptor and revoke blocks
	// and, with CSUM_V2 and CSUM_V3, of commit blocks, else of the
	// transaction. HasChecksum is false if there is none, or if not all of
	// the transaction is there any more.
	HasChecksum      bool
	Stored, Computed uint32

	Tags    []TagRecord              // of a descriptor
	Revokes []disk.BlockNum          // of a revoke block
	Commit  *disk.JournalCommitBlock // of a commit block
}

// ChecksumOK reports whether the checksum fits, or there is none.
func (r *Record) ChecksumOK() bool { return !r.HasChecksum || r.Stored == r.Computed }

// TagRecord is one tag of a descriptor.
type TagRecord struct {
	Home     disk.BlockNum
	LogBlock uint32
	Flags    disk.JournalTagFlags
	// Overwritten says that the log block does not hold the copy any more,
	// but a later record. Old descriptors only.
	Overwritten      bool
	Stored, Computed uint32 // checksum of the copy
	HasChecksum      bool
}

// ChecksumOK reports whether the copy's checksum fits, or there is none.
func (t *TagRecord) ChecksumOK() bool { return !t.HasChecksum || t.Stored == t.Computed }

// Walk yields every record in the ring: first those from the start of the log
// on, or from the start of the ring if the log is empty, then once around.
// Blocks that start with no header are joined to records of Type 0, so the
// Counts add up to the ring. Damage is shown in the records and does not end
// the walk; an error comes with the Block and Count it concerns and does not
// either, unless it is about the journal superblock, with which a walk needs
// to begin.
func Walk(log Log, blockSize int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		w, err := newWalker(log, blockSize)
		if err != nil {
			yield(Record{Block: log.Super()}, err)
			return
		}
		w.walk(yield)
	}
}

type walker struct {
	*scanner
	size  uint64 // of the ring
	live  uint64 // blocks from the start that are live
	open  uint64 // and those that are live or open
	start uint32
	crc   uint32 // of transaction crcID so far, with CHECKSUM
	crcID uint32
	whole bool   // crc covers all of it
	other Record // run of blocks without header, not yielded yet
}

func newWalker(log Log, blockSize int) (*walker, error) {
	if err := checkBlockSize(blockSize); err != nil {
		return nil, err
	}
	sb, _, err := ReadSuperblock(log, blockSize)
	if err == nil {
		err = sb.Validate(blockSize, log.Blocks())
	}
	if err != nil {
		return nil, err
	}
	s := newScanner(context.Background(), log, sb)
	w := &walker{scanner: s, size: uint64(s.last - s.first), start: sb.Start, crc: disk.JournalTransactionSeed, crcID: sb.Sequence}
	if sb.Start == 0 {
		w.start = sb.First
		return w, nil
	}
	// Errors come up again where they are.
	_ = s.scan()
	for i := range s.transactions {
		w.live += uint64(s.transactions[i].Blocks)
	}
	w.open = s.walked
	w.whole = true
	return w, nil
}

func (w *walker) walk(yield func(Record, error) bool) {
	for at := uint64(0); at < w.size; {
		rec, err := w.record(at)
		if err == nil && rec.Type == 0 {
			w.whole = false
			if w.other.Count == 0 {
				w.other = rec
			} else {
				w.other.Count++
			}
			at++
			continue
		}
		if !w.flush(yield) || !yield(rec, err) {
			return
		}
		at += uint64(rec.Count)
	}
	w.flush(yield)
}

func (w *walker) flush(yield func(Record, error) bool) bool {
	rec := w.other
	w.other = Record{}
	return rec.Count == 0 || yield(rec, nil)
}

func (w *walker) state(at uint64) State {
	switch {
	case at < w.live:
		return StateLive
	case at < w.open:
		return StateOpen
	}
	return StateOld
}

// record reads the record that starts at blocks after the start.
func (w *walker) record(at uint64) (Record, error) {
	rec := Record{Block: w.wrap(w.start, at), Count: 1}
	b, err := w.rd.block(rec.Block)
	if err != nil {
		return rec, err
	}
	h, ok := disk.DecodeJournalHeader(b)
	if !ok {
		return rec, nil
	}
	rec.Type, rec.Sequence, rec.State = h.Type, h.Sequence, w.state(at)
	switch h.Type {
	case disk.JournalDescriptor:
		w.tail(&rec, b)
		return rec, w.descriptor(&rec, b, w.size-at)
	case disk.JournalRevoke:
		w.tail(&rec, b)
		blocks, err := w.format.Revokes(b)
		if err != nil {
			return rec, &TransactionError{Transaction: rec.Sequence, LogBlock: rec.Block, Err: err}
		}
		for home := range blocks {
			rec.Revokes = append(rec.Revokes, home)
		}
	case disk.JournalCommit:
		w.commit(&rec, b)
	default:
		return rec, &TransactionError{Transaction: rec.Sequence, LogBlock: rec.Block,
			Err: &disk.CorruptError{What: "journal block", Detail: fmt.Sprintf("unknown type %d", uint32(h.Type))}}
	}
	return rec, nil
}

func (w *walker) tail(rec *Record, b []byte) {
	rec.HasChecksum = w.format.HasTails()
	rec.Stored, rec.Computed = w.format.VerifyTail(b)
}

func (w *walker) commit(rec *Record, b []byte) {
	c := disk.DecodeJournalCommit(b)
	rec.Commit = &c
	rec.HasChecksum = w.format.HasTails()
	rec.Stored, rec.Computed = w.format.VerifyCommit(b)
	if w.format.HasTransactionChecksum() && c.ChecksumType != 0 && w.whole && w.crcID == rec.Sequence {
		rec.HasChecksum, rec.Stored, rec.Computed = true, c.Checksum[0], w.crc
	}
	w.crc, w.crcID, w.whole = disk.JournalTransactionSeed, rec.Sequence+1, true
}

// descriptor adds tags and data of a descriptor with room blocks up to the end
// of the ring. A data block that starts with a header is none: data would have
// been escaped, so a later record has overwritten it.
func (w *walker) descriptor(rec *Record, b []byte, room uint64) error {
	w.whole = w.whole && w.crcID == rec.Sequence
	if w.format.HasTransactionChecksum() {
		w.crc = disk.CRC32BE(w.crc, b)
	}
	for tag := range w.format.Tags(b) {
		rec.Tags = append(rec.Tags, TagRecord{
			Home: tag.Block, LogBlock: w.wrap(rec.Block, uint64(len(rec.Tags)+1)), Flags: tag.Flags,
			Stored: tag.Checksum, HasChecksum: w.format.HasTails(),
		})
	}
	for i := range rec.Tags {
		t := &rec.Tags[i]
		if uint64(rec.Count) >= room {
			w.overwritten(rec.Tags[i:])
			return nil
		}
		data, err := w.rd.block(t.LogBlock)
		if err != nil {
			rec.Count++
			w.overwritten(rec.Tags[i:])
			return err
		}
		if disk.NeedsEscape(data) {
			w.overwritten(rec.Tags[i:])
			return nil
		}
		t.Computed = w.format.TagChecksum(rec.Sequence, data)
		if w.format.HasTransactionChecksum() {
			w.crc = disk.CRC32BE(w.crc, data)
		}
		rec.Count++
	}
	return nil
}

func (w *walker) overwritten(tags []TagRecord) {
	w.whole = false
	for i := range tags {
		tags[i].Overwritten, tags[i].HasChecksum = true, false
	}
}
