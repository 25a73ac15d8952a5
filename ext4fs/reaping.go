package ext4fs

import (
	"slices"
	"time"
)

// An inode that has lost its last name is deleted by the last who has it open, or
// keeps it (see Keep). Above FUSE he hears late that nobody does any more, but who
// has removed the name takes what the inode had for free: in Linux it is then. So
// who is short of space, or asks how much there is, waits a moment.

const (
	// maxLastWait is how long after the loss of its last name an inode is waited
	// for: somebody may have it open for ever.
	maxLastWait = 50 * time.Millisecond
	// maxReapWait bounds the wait for deletions under way: one that itself is
	// short of space would wait for its own end.
	maxReapWait = 2 * time.Second
	reapStep    = 200 * time.Microsecond
)

// awaitReaping waits for the inodes that are deleted in a moment, and reports
// whether one was.
func (f *FS) awaitReaping() bool {
	began := time.Now()
	var list []*Inode
	for _, i := range f.live.orphans.list() {
		if i.dying(began) {
			list = append(list, i)
		}
	}
	some := false
	for now := began; len(list) > 0 && now.Sub(began) < maxReapWait; now = time.Now() {
		time.Sleep(reapStep)
		list = slices.DeleteFunc(list, func(i *Inode) bool {
			gone := !f.live.orphans.has(i)
			some = some || gone
			return gone || !i.dying(now)
		})
	}
	return some
}

// dying reports whether an orphan is expected to be deleted in a moment.
func (i *Inode) dying(now time.Time) bool {
	return i.reaps.Load() > 0 || now.Sub(time.Unix(0, i.nameless.Load())) < maxLastWait
}
