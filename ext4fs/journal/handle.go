package journal

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Handle is the right to change blocks as part of one transaction: a cache.Tx.
// It belongs to one goroutine, which must End it soon, since a commit waits for
// all open handles of its transaction, and must not begin another before.
type Handle struct {
	j       *Journal
	t       *transaction // nil after End
	credits int
}

var _ cache.Tx = (*Handle)(nil)

// ID is the transaction that the changes belong to.
func (h *Handle) ID() uint32 {
	if h.t == nil {
		return 0
	}
	return h.t.id
}

// Credits is how many more blocks the handle may add.
func (h *Handle) Credits() int { return h.credits }

// usable returns why nothing can be done with the handle.
func (h *Handle) usable() error {
	if h.t == nil {
		return fmt.Errorf("use of a journal handle that has ended: %w", ErrClosed)
	}
	return h.j.Err()
}

// Write returns the block to be changed; see cache.Tx. The last Sealer that a
// block is given in its transaction is the one that counts: a directory's block
// may become one of another kind. nil leaves the one that it has.
func (h *Handle) Write(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	b, err := h.j.cache.Get(bn)
	if err != nil {
		return nil, err
	}
	if b.Owner() == h.t.serial {
		h.t.reseal(bn, s)
		return b, nil
	}
	return h.add(bn, b, s, false)
}

// reseal gives a block that the transaction has another Sealer.
func (t *transaction) reseal(bn disk.BlockNum, s cache.Sealer) {
	if s == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.blocks[bn]; m != nil {
		m.sealer = s
	}
}

// Fresh returns the block filled with zeros; see cache.Tx.
func (h *Handle) Fresh(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	return h.add(bn, nil, s, true)
}

// add makes the block a member of the transaction, with a version that is a
// copy of from or, if fresh, zeros. from is no version of this transaction, so
// nobody changes it while it is copied.
func (h *Handle) add(bn disk.BlockNum, from *cache.Buffer, s cache.Sealer, fresh bool) (*cache.Buffer, error) {
	if err := h.j.checkBlock(bn); err != nil {
		return nil, err
	}
	t := h.t
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.blocks[bn]
	if m != nil && m.buf != nil && !fresh {
		// Somebody else was faster, or it was forgotten and is back.
		if m.forgotten {
			m.forgotten = false
			m.buf.SetOwner(t.serial)
			h.j.cache.Install(m.buf)
		}
		if s != nil {
			m.sealer = s
		}
		return m.buf, nil
	}
	paid := m != nil && m.buf != nil
	if !paid && h.credits == 0 {
		return nil, fmt.Errorf("block %d: %w", bn, cache.ErrCredits)
	}
	b, err := h.j.cache.NewVersion(bn, from, t.serial)
	if err != nil {
		return nil, err
	}
	if !paid {
		h.credits--
	}
	if m == nil {
		m = new(member)
		t.blocks[bn] = m
	}
	if m.buf != nil {
		m.buf.SetOwner(0)
	}
	m.buf, m.sealer, m.forgotten = b, s, false
	h.j.cache.Install(b)
	return b, nil
}

// Forget drops the block from the transaction; see cache.Tx. It takes no
// credit.
func (h *Handle) Forget(bn disk.BlockNum) {
	t := h.t
	if t == nil || h.j.checkBlock(bn) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.blocks[bn]
	if m == nil {
		m = new(member)
		t.blocks[bn] = m
	}
	if m.forgotten {
		return
	}
	m.forgotten = true
	t.forgets.Add(1)
	if m.buf != nil {
		// The next Write must not take it for a member.
		m.buf.SetOwner(0)
	}
}

// Extend asks for n credits more; see cache.Tx.
func (h *Handle) Extend(n int) error {
	if err := h.usable(); err != nil {
		return err
	}
	if n <= 0 {
		return nil
	}
	if !h.j.extend(h.t, n) {
		return cache.ErrCredits
	}
	h.credits += n
	return nil
}

// End gives the handle back. The changes will be part of the transaction's
// commit. It fails if the journal has aborted.
func (h *Handle) End() error {
	if h.t == nil {
		return fmt.Errorf("end of a journal handle that has ended: %w", ErrClosed)
	}
	h.j.leave(h.t, h.credits)
	h.t, h.credits = nil, 0
	return h.j.Err()
}

// Restart ends the handle and begins it anew with that many credits: the
// changes so far must leave a consistent state. It may be in the same
// transaction or in another, so it waits as Begin does. If it fails, the handle
// has ended.
func (h *Handle) Restart(credits int) error {
	// A Close must not come in between.
	h.j.restart(1)
	defer h.j.restart(-1)
	if err := h.End(); err != nil {
		return err
	}
	t, err := h.j.join(context.Background(), credits, true)
	if err != nil {
		return err
	}
	h.t, h.credits = t, max(credits, 0)
	return nil
}
