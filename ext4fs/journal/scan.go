package journal

import (
	"context"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// blockRef is a descriptor or revoke block of a complete transaction.
type blockRef struct {
	log uint32
	id  uint32
}

// scanner makes the first pass: it follows the log from its start and stops
// after the last complete transaction.
type scanner struct {
	rd          *reader
	format      disk.JournalFormat
	first, last uint32 // the ring
	async       bool

	id     uint32 // transaction that is being read
	next   uint32 // log block to read
	walked uint64 // log blocks passed since the start

	transactions []Transaction
	descriptors  []blockRef
	revokes      []blockRef
	head         uint32 // block after the last complete transaction
	endID        uint32

	cur      Transaction // the one being read
	descs    int         // descriptors of complete transactions
	revs     int         // revokes of complete transactions
	badBlock error       // descriptor or revoke block of cur with a bad checksum
	failed   error       // a bad commit block of an asynchronous commit
	sum      uint32      // CRC-32 of cur, with CHECKSUM
	lastTime uint64      // commit time of the transaction before cur
}

func newScanner(ctx context.Context, log Log, sb *disk.JournalSuperblock) *scanner {
	s := &scanner{
		rd:     newReader(ctx, log, int(sb.BlockSize), sb.MaxLen),
		format: sb.Format(),
		first:  sb.First,
		last:   sb.Last(),
		async:  sb.Incompat.Has(disk.JournalIncompatAsyncCommit),
		id:     sb.Sequence,
		next:   sb.Start,
		endID:  sb.Sequence,
		head:   sb.Start,
	}
	s.begin()
	return s
}

// wrap is the log block that lies n blocks after from, which is in the ring.
func (s *scanner) wrap(from uint32, n uint64) uint32 {
	size := uint64(s.last - s.first)
	return s.first + uint32((uint64(from-s.first)+n)%size)
}

func (s *scanner) advance(n uint32) {
	s.next = s.wrap(s.next, uint64(n))
	s.walked += uint64(n)
	s.cur.Blocks += n
}

func (s *scanner) begin() {
	s.cur = Transaction{ID: s.id, Start: s.next}
	s.badBlock = nil
	s.sum = disk.JournalTransactionSeed
}

// scan reads the log. It returns an error for what the kernel would refuse;
// the transactions before that are good. Otherwise the log just ends: at a
// block without magic, with another sequence or of unknown type, at garbage of
// an earlier lap, at an interrupted asynchronous commit, or after one lap.
func (s *scanner) scan() error {
	err := s.follow()
	s.descriptors = s.descriptors[:s.descs]
	s.revokes = s.revokes[:s.revs]
	return err
}

func (s *scanner) follow() error {
	for s.walked < uint64(s.last-s.first) {
		at := s.next
		b, err := s.rd.block(at)
		if err != nil {
			return err
		}
		h, ok := disk.DecodeJournalHeader(b)
		if !ok || h.Sequence != s.id {
			return nil
		}
		s.advance(1)
		switch h.Type {
		case disk.JournalDescriptor:
			err = s.descriptor(at, b)
		case disk.JournalRevoke:
			s.revokes = append(s.revokes, blockRef{at, s.id})
			s.cur.Revokes++
			s.checkTail(at, b, "journal revoke block")
		case disk.JournalCommit:
			var end bool
			if end, err = s.commit(at, b); end {
				return err
			}
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) at(log uint32, err error) error {
	return &TransactionError{Transaction: s.id, LogBlock: log, Err: err}
}

// checkTail remembers a bad checksum. Whether it is corruption or garbage of an
// earlier lap of the log is known only at the commit block.
func (s *scanner) checkTail(log uint32, b []byte, what string) {
	if stored, computed := s.format.VerifyTail(b); stored != computed && s.badBlock == nil {
		s.badBlock = s.at(log, &disk.ChecksumError{What: what, Stored: stored, Computed: computed})
	}
}

func (s *scanner) descriptor(log uint32, b []byte) error {
	s.descriptors = append(s.descriptors, blockRef{log, s.id})
	s.checkTail(log, b, "journal descriptor block")
	n := s.format.CountTags(b)
	s.cur.Tags += n
	if s.format.HasTransactionChecksum() && s.failed == nil {
		if err := s.sumData(b, n); err != nil {
			return err
		}
	}
	s.advance(n)
	return nil
}

// sumData extends the transaction's CRC-32 over a descriptor and its n blocks.
func (s *scanner) sumData(b []byte, n uint32) error {
	if s.walked+uint64(n) > uint64(s.last-s.first) {
		return nil // more than a lap: there can be no commit block
	}
	s.sum = disk.CRC32BE(s.sum, b)
	for i := range n {
		data, err := s.rd.block(s.wrap(s.next, uint64(i)))
		if err != nil {
			return err
		}
		s.sum = disk.CRC32BE(s.sum, data)
	}
	return nil
}

// commit judges a commit block. end says that the log ends before this
// transaction, with err if that is corruption.
func (s *scanner) commit(log uint32, b []byte) (end bool, err error) {
	c := disk.DecodeJournalCommit(b)
	bad := s.badBlock
	if bad == nil {
		bad = s.checkCommit(log, b, &c)
	}
	switch {
	case bad != nil && c.Seconds < s.lastTime:
		// Older than the transaction before it: garbage of an earlier lap.
		return true, nil
	case bad != nil && s.badBlock == nil && s.async && s.failed == nil:
		// The commit block may have come to the disk before its data did. If
		// that was the last transaction, it was interrupted.
		s.failed = bad
	case bad != nil || s.failed != nil:
		if s.failed != nil {
			bad = s.failed
		}
		return true, bad
	default:
		s.complete(log, &c)
	}
	s.lastTime = c.Seconds
	s.id++
	s.begin()
	return false, nil
}

func (s *scanner) checkCommit(log uint32, b []byte, c *disk.JournalCommitBlock) error {
	stored, computed := s.format.VerifyCommit(b)
	if s.format.HasTransactionChecksum() && s.failed == nil && !c.TransactionChecksumOK(s.sum) {
		return s.at(log, &disk.ChecksumError{What: "journal transaction", Stored: c.Checksum[0], Computed: s.sum})
	}
	if stored != computed {
		return s.at(log, &disk.ChecksumError{What: "journal commit block", Stored: stored, Computed: computed})
	}
	return nil
}

func (s *scanner) complete(log uint32, c *disk.JournalCommitBlock) {
	s.cur.Commit, s.cur.Seconds, s.cur.Nanoseconds = log, c.Seconds, c.Nanoseconds
	s.transactions = append(s.transactions, s.cur)
	s.descs, s.revs = len(s.descriptors), len(s.revokes)
	s.head, s.endID = s.next, s.id+1
}
