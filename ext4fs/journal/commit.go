package journal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// commitRunning makes the running transaction durable. An error is a reason to
// abort.
func (j *Journal) commitRunning() error {
	t := j.close()
	if t == nil {
		return nil // aborted or held meanwhile
	}
	c := &commit{j: j, t: t}
	if err := c.freeze(); err != nil {
		return err
	}
	write := c.toHomes
	if j.log != nil {
		write = c.toLog
	}
	if err := write(); err != nil {
		return err
	}
	c.forget()
	if err := j.Err(); err != nil {
		return err
	}
	if j.cfg.OnCommit != nil {
		j.cfg.OnCommit(t.id)
	}
	j.finish(c)
	if j.log != nil {
		return j.relieve()
	}
	return nil
}

// close lets no more handles into the running transaction and waits for the
// open ones. Then nobody changes its versions any more, and it is returned;
// nil if the journal aborts meanwhile, or somebody just came to hold it.
func (j *Journal) close() *transaction {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.running
	if t == nil || j.holds > 0 {
		return nil
	}
	t.locked = true
	for t.handles > 0 && j.Err() == nil {
		// An abort broadcasts too.
		_ = j.wait(context.Background())
	}
	if j.Err() != nil {
		return nil
	}
	j.running, j.committing, j.wanted = nil, t, false
	j.broadcast()
	return t
}

// finish wakes those who wait for the transaction.
func (j *Journal) finish(c *commit) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.committing = nil
	j.stats.Committed = c.t.id
	j.stats.Commits++
	j.stats.Blocks += uint64(len(c.frozen))
	j.stats.Revokes += uint64(len(c.revokes))
	j.noteLog()
	close(c.t.done)
	j.broadcast()
}

// noteLog copies what Stats tells of the log. Called with mu.
func (j *Journal) noteLog() {
	if j.log != nil {
		j.stats.LogBlocks, j.stats.LogUsed, j.stats.Pending = j.log.size(), j.log.used, j.log.unhomed
	}
}

// commit is one transaction on its way to the device.
type commit struct {
	j       *Journal
	t       *transaction
	members []*member       // the live ones, by block
	frozen  []*cache.Buffer // their sealed copies
	gone    []disk.BlockNum // the forgotten ones
	revokes []disk.BlockNum // those of gone that need a revoke record
}

// freeze makes the sealed copies and lets them take the place of the versions
// they were made from, unless the next transaction already has its own. The
// originals stay as they are: somebody may be reading them.
func (c *commit) freeze() error {
	for bn, m := range c.t.blocks {
		if m.forgotten {
			c.gone = append(c.gone, bn)
		} else {
			c.members = append(c.members, m)
		}
	}
	slices.Sort(c.gone)
	slices.SortFunc(c.members, func(a, b *member) int { return cmp.Compare(a.buf.Block(), b.buf.Block()) })
	c.frozen = make([]*cache.Buffer, len(c.members))
	for i, m := range c.members {
		b, err := c.j.cache.NewVersion(m.buf.Block(), m.buf, 0)
		if err != nil {
			return err
		}
		m.frozen, c.frozen[i] = b, b
	}
	for _, m := range c.members {
		if m.sealer != nil {
			m.sealer.Seal(m.frozen.Block(), m.frozen.Data(), c.peer)
		}
	}
	for _, m := range c.members {
		c.j.cache.Swap(m.buf, m.frozen)
	}
	return nil
}

func (c *commit) peer(bn disk.BlockNum) []byte {
	if m := c.t.blocks[bn]; m != nil && m.frozen != nil {
		return m.frozen.Data()
	}
	return nil
}

// sync flushes the device of the file system. last says that no flush of it
// will follow in this commit: who writes data after it has begun needs another.
func (c *commit) sync(last bool) error {
	if err := c.j.ctx.Err(); err != nil {
		return err
	}
	if last {
		c.j.mu.Lock()
		c.t.covered = true
		c.j.mu.Unlock()
	}
	return c.j.cfg.Device.Sync()
}

// toHomes is the commit without a log: data first, then the blocks that may
// refer to it.
func (c *commit) toHomes() error {
	if err := c.sync(false); err != nil {
		return err
	}
	if err := c.j.cache.WriteBack(c.j.ctx, c.j.cfg.Device, slices.Clone(c.frozen)); err != nil {
		return err
	}
	if err := c.sync(true); err != nil {
		return err
	}
	for _, b := range c.frozen {
		c.j.cache.Unpin(b)
	}
	return nil
}

// toLog writes the transaction into the log: everything but the commit block,
// then that, and a flush after each. The first flush covers the file data that
// the transaction refers to as well.
func (c *commit) toLog() error {
	j, log := c.j, c.j.log
	for _, bn := range c.gone {
		if _, ok := log.copies[bn]; ok {
			c.revokes = append(c.revokes, bn)
		}
	}
	need := log.need(len(c.frozen), len(c.revokes))
	if need > log.free() {
		if err := j.checkpoint(max(need, log.size()/4), log.capacity); err != nil {
			return err
		}
	}
	if err := j.straighten(need); err != nil {
		return err
	}
	if need > log.free() {
		return fmt.Errorf("transaction %d takes %d log blocks, only %d are free: %w", c.t.id, need, log.free(), ErrTooLarge)
	}
	if err := c.prepareSuper(); err != nil {
		return err
	}
	w := log.newWriter(j.ctx, c.t.id)
	w.revokes(c.revokes)
	w.blocks(c.frozen)
	w.clearCommit()
	if w.err != nil {
		return w.err
	}
	if err := c.barrier(); err != nil {
		return err
	}
	w.commit(c.time())
	if w.err != nil {
		return w.err
	}
	if err := c.lastFlush(); err != nil {
		return err
	}
	for _, bn := range c.revokes {
		log.forget(bn)
	}
	log.record(c.t.id, w.wrote, c.frozen)
	return nil
}

// prepareSuper makes the superblock point to the log, if it says that the log
// is empty, and know the features. It may reach the device before what it
// points to: then recovery finds no transaction there.
func (c *commit) prepareSuper() error {
	log := c.j.log
	if len(c.revokes) > 0 && !log.sb.Incompat.Has(disk.JournalIncompatRevoke) {
		log.sb.Incompat |= disk.JournalIncompatRevoke
		log.dirty = true
	}
	if log.sb.Start != 0 && !log.dirty {
		return nil
	}
	if err := c.j.ctx.Err(); err != nil {
		return err
	}
	return log.pointTo()
}

// barrier makes durable all that the commit block vouches for.
func (c *commit) barrier() error {
	if !c.j.log.w.External() {
		return c.sync(false)
	}
	if err := c.sync(true); err != nil {
		return err
	}
	return c.j.log.w.Sync()
}

// lastFlush makes the commit block durable.
func (c *commit) lastFlush() error {
	if !c.j.log.w.External() {
		return c.sync(true)
	}
	if err := c.j.ctx.Err(); err != nil {
		return err
	}
	return c.j.log.w.Sync()
}

// time is the commit's, never before that of an earlier one: recovery takes a
// transaction that is older than the one before it for a relic.
func (c *commit) time() (seconds uint64, nanos uint32) {
	log := c.j.log
	now := c.j.cfg.Now()
	s, n := uint64(max(now.Unix(), 0)), uint32(now.Nanosecond())
	if s > log.seconds || s == log.seconds && n > log.nanos {
		log.seconds, log.nanos = s, n
	}
	return log.seconds, log.nanos
}

// forget drops the blocks that are not metadata any more: from the cache, and
// from what a checkpoint would write. After this others may use them.
func (c *commit) forget() {
	for _, bn := range c.gone {
		c.j.cache.DropOld(bn, c.t.serial)
	}
}
