package journal

import "github.com/e4kit/e4kit/ext4fs/cache"

// checkpoint writes home the blocks of the oldest transactions in the log,
// until free blocks of the log are free and no more than unhomed blocks remain
// to be written home, or nothing is left. Of each block the newest committed
// version goes home, whatever the running transaction has made of it since.
func (j *Journal) checkpoint(free uint32, unhomed int) error {
	log := j.log
	n, used, left := 0, log.used, log.unhomed
	for n < len(log.live) && (log.size()-used-1 < free || left > unhomed) {
		used -= log.live[n].blocks
		left -= log.live[n].pending
		n++
	}
	if n == 0 {
		return nil
	}
	if err := j.writeHome(n); err != nil {
		return err
	}
	// Those that newer copies have made superfluous can go as well.
	for n < len(log.live) && log.live[n].pending == 0 {
		n++
	}
	return j.releaseLog(n, log.pointTo)
}

// writeHome makes the blocks of the n oldest transactions durable in their
// places.
func (j *Journal) writeHome(n int) error {
	var list []*cache.Buffer
	for _, t := range j.log.live[:n] {
		for _, bn := range t.homes {
			if c := j.log.copies[bn]; c.t == t && c.buf != nil {
				list = append(list, c.buf)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	if err := j.cache.WriteBack(j.ctx, j.cfg.Device, list); err != nil {
		return err
	}
	if err := j.cfg.Device.Sync(); err != nil {
		return err
	}
	for _, b := range list {
		c := j.log.copies[b.Block()]
		j.log.homed(c)
		c.buf = nil
		j.log.copies[b.Block()] = c
		j.cache.Unpin(b)
	}
	return nil
}

// releaseLog moves the tail over the n oldest transactions, which are not
// needed any more. Their blocks may be overwritten when the superblock that
// says so, which write does, is durable.
func (j *Journal) releaseLog(n int, write func() error) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	j.log.release(n)
	if err := write(); err != nil {
		return err
	}
	if err := j.log.w.Sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Checkpoints++
	j.noteLog()
	return nil
}

// relieve makes room before the next commit has to wait for it, once the log
// is nearly full or too much memory is bound.
func (j *Journal) relieve() error {
	log := j.log
	if log.free() >= log.size()/4 && log.unhomed <= log.capacity {
		return nil
	}
	return j.checkpoint(log.size()/2, log.capacity/2)
}

// straighten lets the log begin anew at the start of the ring if it must not be
// wrapped and a transaction of that many blocks would do so.
func (j *Journal) straighten(need uint32) error {
	log := j.log
	wrapped := log.used > 0 && log.head <= log.tail() // the last one just fitted
	if !log.straight() || log.last-log.head >= need && !wrapped {
		return nil
	}
	if log.sb.Start == 0 {
		log.head = log.first
		return nil
	}
	if err := j.writeHome(len(log.live)); err != nil {
		return err
	}
	return j.releaseLog(len(log.live), func() error {
		log.head = log.first
		return log.pointTo()
	})
}

// emptyLog writes everything home and marks the log clean.
func (j *Journal) emptyLog() error {
	log := j.log
	if log.sb.Start == 0 || log.open {
		return j.cfg.Device.Sync()
	}
	if err := j.writeHome(len(log.live)); err != nil {
		return err
	}
	return j.releaseLog(len(log.live), log.clean)
}
