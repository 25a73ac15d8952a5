package ext4fs

import "github.com/e4kit/e4kit/ext4fs/journal"

// JournalStats returns the counters of the journal; false for a file system
// that is not open for writing, which runs none. One without a journal has
// transactions all the same, whose log has no blocks.
func (f *FS) JournalStats() (journal.Stats, bool) {
	if f.live == nil || f.live.journal == nil {
		return journal.Stats{}, false
	}
	return f.live.journal.Stats(), true
}
