package journal

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Recovered says what Recover has done and found.
type Recovered struct {
	// Blocks is how many blocks were written home.
	Blocks int
	// Open says that the log was left open, since the records of fast commits
	// are still to be applied: Start it with Config.Resume and do that in one
	// transaction. Its commit makes the records void; before, a crash leads
	// back to here.
	Open bool
	// Errno is why the journal aborted in an earlier life, a negative number,
	// or 0. The file system has to be marked as having errors; then ClearError
	// clears it.
	Errno int32
}

// Recover writes home what Load found in the log, and empties the log. An
// interrupted recovery can be begun anew, with Load. Without needs_recovery the
// log is emptied only, as the kernel does.
func Recover(ctx context.Context, dev device.Writer, rec *Recovery, log *WriteLog) (Recovered, error) {
	done := Recovered{Errno: rec.Superblock.Errno}
	if !rec.Needed && !rec.Discarded {
		return done, nil
	}
	if err := rec.check(dev, log); err != nil {
		return done, err
	}
	if len(rec.entries) > 0 {
		if err := rec.writeHome(ctx, dev, log); err != nil {
			return done, err
		}
		done.Blocks = len(rec.entries)
	}
	// Also when there was nothing to write: an earlier recovery may have been
	// interrupted before its flush.
	if err := dev.Sync(); err != nil {
		return done, err
	}
	done.Open = len(rec.FastCommits) > 0
	return done, rec.reset(log, done.Open)
}

// check judges all homes before anything is written.
func (r *Recovery) check(dev device.Writer, log *WriteLog) error {
	if log.blockSize != r.bs {
		return fmt.Errorf("recovery of a journal with block size %d into one with %d: %w", r.bs, log.blockSize, disk.ErrUnsupported)
	}
	blocks := uint64(dev.Size()) / uint64(r.bs)
	for i := range r.entries {
		e := &r.entries[i]
		detail := ""
		switch {
		case uint64(e.home) >= blocks:
			detail = fmt.Sprintf("the device has %d blocks", blocks)
		case log.holds(e.home):
			detail = "it is part of the journal"
		default:
			continue
		}
		return &BlockError{e.log, &disk.CorruptError{What: "home of a logged block", Block: e.home, Detail: detail}}
	}
	return nil
}

// writeHome writes the blocks in the order of the disk, neighbours together.
func (r *Recovery) writeHome(ctx context.Context, dev device.Writer, log *WriteLog) error {
	longest := max(maxLogWrite/r.bs, 1)
	buf := make([]byte, min(longest, len(r.entries))*r.bs)
	o := &overlay{r: r, bs: int64(r.bs)}
	for e := r.entries; len(e) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 1
		for n < min(longest, len(e)) && e[n].home == e[n-1].home+1 {
			n++
		}
		for i := 0; i < n; {
			k := o.adjacent(len(r.entries)-len(e)+i, int64(n-i))
			if err := log.ReadBlocks(e[i].log, buf[i*r.bs:(i+k)*r.bs]); err != nil {
				return err
			}
			i += k
		}
		for i := range n {
			if e[i].escaped {
				disk.Unescape(buf[i*r.bs:])
			}
		}
		if _, err := dev.WriteAt(buf[:n*r.bs], int64(e[0].home)*int64(r.bs)); err != nil {
			return fmt.Errorf("recover %d blocks from %d on: %w", n, e[0].home, err)
		}
		e = e[n:]
	}
	return nil
}

// reset makes the log empty. Left open, it begins with the transaction that the
// full commits lacked, and does not hold it: so recovery would find the fast
// commits again, and nothing else. Otherwise their feature goes, as it does when
// the kernel has recovered.
func (r *Recovery) reset(log *WriteLog, open bool) error {
	sb, bad, err := ReadSuperblock(log, r.bs)
	if err == nil && r.Damage == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	switch {
	case open:
		// Full commits that are home need not be replayed again.
		sb.Start, sb.Sequence = sb.First, r.EndID
	case r.Discarded || r.Damage != nil:
		// There may be whole transactions behind the damage; no new one may
		// have the number of one of them. Each has at least a block.
		sb.Start, sb.Sequence, sb.Head = 0, r.EndID+sb.MaxLen, 0
	default:
		sb.Start, sb.Sequence, sb.Head = 0, r.EndID+1, r.Head
	}
	if !open {
		sb.Incompat &^= disk.JournalIncompatFastCommit
	}
	return rewriteSuper(log, sb)
}
