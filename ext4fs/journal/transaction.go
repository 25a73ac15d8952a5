package journal

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// transaction is the running or the committing transaction. What became of it
// afterwards is a liveTx.
type transaction struct {
	id      uint32
	serial  uint64 // never 0, does not wrap: the owner of its versions
	started time.Time
	limit   int // blocks that it may grow to

	// guarded by Journal.mu
	handles int  // open ones
	used    int  // blocks it has, and credits of open handles
	locked  bool // no new handles: it waits for the open ones
	covered bool // the last flush of the file system's device has begun

	done chan struct{} // closed when it is durable, or the journal has aborted
	err  error         // why it is not durable; read after done

	forgets atomic.Int64

	mu     sync.Mutex // guards blocks while it runs; over cache shards
	blocks map[disk.BlockNum]*member
}

// member is a block of a transaction.
type member struct {
	buf    *cache.Buffer // its version; nil if it was only forgotten
	frozen *cache.Buffer // the sealed copy, made by the commit
	sealer cache.Sealer
	// forgotten says that it is not part of the transaction any more, and
	// that older copies in the log must not be replayed.
	forgotten bool
}

// revokeBlocks bounds the log blocks that its revoke records take.
func (t *transaction) revokeBlocks(perBlock int) int {
	if perBlock == 0 {
		return 0
	}
	return int((t.forgets.Load() + int64(perBlock) - 1) / int64(perBlock))
}

// empty reports whether nothing has been changed so far.
func (t *transaction) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.blocks) == 0
}
