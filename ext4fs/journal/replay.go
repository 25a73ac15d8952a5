package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// logged is one copy of a block in the log.
type logged struct {
	home    disk.BlockNum
	log     uint32
	id      uint32 // transaction
	sum     uint32
	escaped bool
}

// replayer makes the second and third pass, for the complete transactions that
// a scanner found.
type replayer struct {
	*scanner
	o      Options
	copies []logged // in log order
	// homes are the distinct homes of copies, ascending; revoked[i] is the
	// newest transaction that revokes homes[i], if isRevoked[i]. Revokes of
	// blocks that the log does not hold are dropped, so the table is bounded
	// by the log.
	homes     []disk.BlockNum
	revoked   []uint32
	isRevoked []bool
	records   int
}

// replay fills r from the complete transactions of s. A reader who goes on in
// spite of damage gets those before it; what remains is judged again, since a
// bad revoke block is found before the data blocks of earlier transactions.
func (r *Recovery) replay(s *scanner, o Options) error {
	for {
		p := &replayer{scanner: s, o: o}
		err := p.run()
		var t *TransactionError
		if err != nil && o.IgnoreChecksums && damaged(err) && errors.As(err, &t) && s.cut(t.Transaction) {
			r.Damage = err
			continue
		}
		if err != nil {
			return err
		}
		r.Transactions, r.EndID, r.Head = s.transactions, s.endID, s.head
		r.Revokes = p.records
		r.entries, r.RevokeHits = p.entries()
		return nil
	}
}

// cut drops transaction id and all after it, and reports whether it was there.
func (s *scanner) cut(id uint32) bool {
	n := slices.IndexFunc(s.transactions, func(t Transaction) bool { return t.ID == id })
	if n < 0 {
		return false
	}
	s.endID, s.head = id, s.transactions[n].Start
	s.transactions = s.transactions[:n]
	before := func(refs []blockRef) []blockRef {
		for i, ref := range refs {
			if !disk.SequenceBefore(ref.id, id) {
				return refs[:i]
			}
		}
		return refs
	}
	s.descriptors, s.revokes = before(s.descriptors), before(s.revokes)
	return true
}

func (p *replayer) run() error {
	if err := p.collectTags(); err != nil {
		return err
	}
	if err := p.collectRevokes(); err != nil {
		return err
	}
	return p.verify()
}

func (p *replayer) collectTags() error {
	for _, ref := range p.descriptors {
		b, err := p.rd.block(ref.log)
		if err != nil {
			return err
		}
		var i uint64
		for tag := range p.format.Tags(b) {
			i++
			if i > uint64(p.last-p.first) {
				break // cannot be: a complete transaction fits into the ring
			}
			p.copies = append(p.copies, logged{
				home: tag.Block, log: p.wrap(ref.log, i), id: ref.id,
				sum: tag.Checksum, escaped: tag.Flags&disk.JournalTagEscape != 0,
			})
		}
	}
	p.homes = make([]disk.BlockNum, len(p.copies))
	for i := range p.copies {
		p.homes[i] = p.copies[i].home
	}
	slices.Sort(p.homes)
	p.homes = slices.Compact(p.homes)
	p.revoked = make([]uint32, len(p.homes))
	p.isRevoked = make([]bool, len(p.homes))
	return nil
}

func (p *replayer) collectRevokes() error {
	for _, ref := range p.revokes {
		b, err := p.rd.block(ref.log)
		if err != nil {
			return err
		}
		blocks, err := p.format.Revokes(b)
		if err != nil {
			return &TransactionError{Transaction: ref.id, LogBlock: ref.log, Err: err}
		}
		for home := range blocks {
			p.records++
			if i, found := slices.BinarySearch(p.homes, home); found {
				// Later references are of later transactions.
				p.revoked[i], p.isRevoked[i] = ref.id, true
			}
		}
	}
	return nil
}

// skips reports whether a copy was revoked by its own or a later transaction.
func (p *replayer) skips(c *logged) bool {
	i, found := slices.BinarySearch(p.homes, c.home)
	return found && p.isRevoked[i] && !disk.SequenceBefore(p.revoked[i], c.id)
}

// verify checks what is going to be replayed, as the kernel does: not what was
// revoked. A reader who goes on in spite of damage has everything checked,
// since a revoke after the damage will not count.
func (p *replayer) verify() error {
	limit := disk.BlockNum(p.o.FSBlocks)
	if limit == 0 {
		limit = 1 << 48
	}
	for i := range p.copies {
		c := &p.copies[i]
		if !p.o.IgnoreChecksums && p.skips(c) {
			continue
		}
		at := func(err error) error {
			return &TransactionError{Transaction: c.id, LogBlock: c.log, Err: err}
		}
		if c.home >= limit {
			return at(&disk.CorruptError{What: "journal tag", Block: c.home,
				Detail: fmt.Sprintf("the file system has %d blocks", limit)})
		}
		if !p.format.HasTails() {
			continue
		}
		data, err := p.rd.block(c.log)
		if err != nil {
			return err
		}
		if sum := p.format.TagChecksum(c.id, data); sum != c.sum {
			return at(&disk.ChecksumError{What: "journal data block", Block: c.home, Stored: c.sum, Computed: sum})
		}
	}
	return nil
}

// entries picks the newest copy of each block that is not revoked.
func (p *replayer) entries() (list []entry, hits int) {
	newest := make([]uint32, len(p.homes)) // 1 + index into copies
	kept := 0
	for i := range p.copies {
		c := &p.copies[i]
		if p.skips(c) {
			hits++
			continue
		}
		h, _ := slices.BinarySearch(p.homes, c.home)
		if newest[h] == 0 {
			kept++
		}
		newest[h] = uint32(i + 1)
	}
	list = make([]entry, 0, kept)
	for _, n := range newest {
		if n != 0 {
			c := &p.copies[n-1]
			list = append(list, entry{c.home, c.log, c.escaped})
		}
	}
	return list, hits
}

// Blocks is the number of file system blocks that recovery writes.
func (r *Recovery) Blocks() int { return len(r.entries) }

// Replayed says whether recovery writes block home and, if so, which log block
// holds what it writes, and whether that copy is escaped.
func (r *Recovery) Replayed(home disk.BlockNum) (log uint32, escaped, ok bool) {
	i, found := slices.BinarySearchFunc(r.entries, home, func(e entry, home disk.BlockNum) int {
		return cmp.Compare(e.home, home)
	})
	if !found {
		return 0, false, false
	}
	return r.entries[i].log, r.entries[i].escaped, true
}
