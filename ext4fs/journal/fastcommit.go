package journal

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxFastRecords bounds the memory that a fast-commit area can ask for. An area
// of the usual size, a 64th of the journal, has room for far fewer.
const maxFastRecords = 1 << 20

// fastScan follows the fast-commit area, whose first record must name the
// transaction after the last full commit.
type fastScan struct {
	id      uint32
	sum     uint32
	records []disk.FCRecord // since the last good TAIL
	good    []disk.FCRecord
	commits int
	started bool
}

// loadFastCommits collects the records of the complete fast commits on top of
// the last full one.
func (r *Recovery) loadFastCommits(rd *reader) error {
	n := r.Superblock.FastBlocks()
	if n == 0 {
		return nil
	}
	s := fastScan{id: r.EndID}
	for at := r.Superblock.Last() + 1; at < r.Superblock.MaxLen; at++ {
		b, err := rd.block(at)
		if err != nil {
			return err
		}
		// The records refer to their block.
		more, err := s.block(append([]byte(nil), b...))
		if err != nil {
			return &TransactionError{Transaction: s.id, LogBlock: at, Err: err}
		}
		if !more {
			break
		}
	}
	r.FastCommits, r.FastCommitCount = s.good, s.commits
	return nil
}

// block takes one block of the area; more is false after the last good commit.
func (s *fastScan) block(b []byte) (more bool, err error) {
	for raw, err := range disk.FCRecords(b) {
		if !s.started && raw.Tag != disk.FCTagHead {
			return false, nil // never used, or something else
		}
		var rec disk.FCRecord
		if err == nil {
			rec, err = raw.Decode()
		}
		if err == nil {
			more, err = s.record(raw, rec)
		}
		if err != nil {
			return false, s.stop(err)
		}
		if !more {
			return false, nil
		}
		if len(s.records) > maxFastRecords-len(s.good) {
			return false, &disk.CorruptError{What: "fast-commit area", Detail: fmt.Sprintf("more than %d records", maxFastRecords)}
		}
	}
	return true, nil
}

// stop ends the scan. What follows a good fast commit was interrupted; before
// the first good one, the kernel calls it damage.
func (s *fastScan) stop(err error) error {
	if s.commits > 0 {
		return nil
	}
	return err
}

func (s *fastScan) record(raw disk.FCRaw, rec disk.FCRecord) (more bool, err error) {
	switch rec := rec.(type) {
	case *disk.FCHead:
		if rec.Features&^disk.FCKnownFeatures != 0 {
			return false, &disk.FeatureError{Set: "fast commit", Names: []string{fmt.Sprintf("0x%x", rec.Features)}}
		}
		if rec.Transaction != s.id {
			return false, nil // left over from an older transaction
		}
		s.started = true
	case *disk.FCTail:
		sum := disk.FCTailSum(s.sum, raw)
		if rec.Transaction != s.id || rec.Checksum != sum {
			return false, &disk.ChecksumError{What: "fast commit", Stored: rec.Checksum, Computed: sum}
		}
		s.good = append(s.good, s.records...)
		s.records, s.sum = s.records[:0], 0
		s.commits++
		return true, nil
	case *disk.FCPad:
	default:
		s.records = append(s.records, rec)
	}
	s.sum = disk.FCSum(s.sum, raw)
	return true, nil
}
