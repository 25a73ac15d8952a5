package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Journal is the write side: it turns changes of many goroutines into
// transactions that are durable as a whole or not at all. With a log they go
// through it; without one a commit writes the blocks straight to their homes,
// which keeps the order but not the atomicity.
//
// One goroutine of its own does all commits and checkpoints. At any time there
// is at most one running transaction, that handles join, and one committing.
// Once a transaction has been told to commit, Begin waits until its handles
// have ended, then a new one runs while the old one is written.
//
// All methods are safe for concurrent use. Its locks come below all others of
// the library but the cache's: Journal.mu, transaction.mu, cache shards, in
// this order. No I/O is done under them.
type Journal struct {
	cfg   Config
	cache *cache.Cache
	bs    int
	limit int // blocks of a transaction

	ctx     context.Context // done when the journal has aborted or is gone
	cancel  context.CancelFunc
	aborted atomic.Pointer[AbortError]
	wake    chan struct{} // tells the goroutine to look again
	stopped chan struct{} // closed when the goroutine is gone
	flusher flusher

	mu         sync.Mutex
	running    *transaction
	committing *transaction
	nextID     uint32 // of the next transaction
	nextSerial uint64
	holds      int
	restarts   int  // handles between two transactions
	wanted     bool // the running transaction is to be committed
	closing    bool
	closed     bool
	jobs       []*job
	changed    chan struct{} // closed at the next change, nil if nobody waits
	stats      Stats

	log *ring // nil without a log; the goroutine's own
}

// job is a checkpoint that somebody waits for.
type job struct {
	close bool
	done  chan struct{}
	err   error
}

// Start begins to write the file system. The journal must be empty, or have
// been left open by Recover and Resume be set; the file system's needs_recovery
// must be durable before. Nothing is written before the first commit.
func Start(cfg Config) (*Journal, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, cache: cfg.Cache, bs: cfg.Cache.BlockSize(),
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		nextID: 1, nextSerial: 1,
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.flusher.sync = cfg.Device.Sync
	// A quarter of the cache for the running transaction, another for the
	// committing one, and half for what waits for its checkpoint.
	j.limit = max(j.cache.Capacity()/4, minLimit)
	first := j.limit
	if cfg.Log != nil {
		var err error
		if j.log, err = openLog(j.ctx, &cfg); err != nil {
			j.cancel()
			return nil, err
		}
		j.nextID = j.log.next
		j.limit = min(j.limit, j.log.share(4))
		first = j.limit
		if cfg.Resume {
			// Fast commits must be applied by one transaction.
			first = j.log.share(1) * 3 / 4
		}
	}
	j.stats.Committed = j.nextID - 1
	if cfg.Resume {
		j.running = j.newTransaction()
		j.running.limit = max(first, j.limit)
	}
	go j.run()
	return j, nil
}

// minLimit is the room for a transaction that a small cache gives way to: the
// largest handles need that much.
const minLimit = 256

// Err returns nil, or the *AbortError of a journal that has aborted.
func (j *Journal) Err() error {
	if e := j.aborted.Load(); e != nil {
		return e
	}
	return nil
}

// Begin joins the running transaction with the right to add that many blocks
// to it. It waits, until ctx is done, while the transaction is being closed or
// has no room left. It must not be called with a lock that the owner of
// another handle might want.
func (j *Journal) Begin(ctx context.Context, credits int) (*Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := j.join(ctx, credits, false)
	if err != nil {
		return nil, err
	}
	return &Handle{j: j, t: t, credits: max(credits, 0)}, nil
}

// join enters the running transaction, which it opens if there is none. Only a
// handle that is being restarted may do so while the journal is closing.
func (j *Journal) join(ctx context.Context, credits int, again bool) (*transaction, error) {
	credits = max(credits, 0)
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if err := j.usable(); err != nil {
			return nil, err
		}
		if j.closing && !again {
			return nil, ErrClosed
		}
		t := j.running
		if t == nil {
			t = j.newTransaction()
			j.running = t
			j.poke() // its age begins to count
		}
		if !t.locked {
			if j.fits(t, credits) {
				t.handles++
				t.used += credits
				return t, nil
			}
			if credits > t.limit {
				return nil, fmt.Errorf("%d credits, of %d at most: %w", credits, t.limit, ErrTooLarge)
			}
			if j.holds > 0 {
				return nil, ErrHeld
			}
			j.want()
		}
		if err := j.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// fits reports whether t has room for that many blocks more. Called with mu.
func (j *Journal) fits(t *transaction, n int) bool {
	if t.used == 0 {
		return n <= t.limit
	}
	return t.used+t.revokeBlocks(j.revokesPerBlock())+n <= t.limit
}

func (j *Journal) revokesPerBlock() int {
	if j.log == nil {
		return 0
	}
	return j.log.revokesPerBlock
}

// newTransaction is called with mu.
func (j *Journal) newTransaction() *transaction {
	t := &transaction{
		id: j.nextID, serial: j.nextSerial, limit: j.limit, started: time.Now(),
		done: make(chan struct{}), blocks: make(map[disk.BlockNum]*member),
	}
	j.nextID++
	j.nextSerial++
	return t
}

// extend is for Handle.Extend.
func (j *Journal) extend(t *transaction, n int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t.locked || n > t.limit || !j.fits(t, n) {
		return false
	}
	t.used += n
	return true
}

// leave is for Handle.End.
func (j *Journal) leave(t *transaction, credits int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t.handles--
	t.used -= credits
	if t.locked && t.handles == 0 {
		j.broadcast()
	}
}

// restart is for Handle.Restart.
func (j *Journal) restart(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.restarts += n
	if len(j.jobs) > 0 {
		j.poke()
	}
}

// usable returns why no transaction can be joined. Called with mu.
func (j *Journal) usable() error {
	if err := j.Err(); err != nil {
		return err
	}
	if j.closed {
		return ErrClosed
	}
	return nil
}

// want asks for a commit of the running transaction. Called with mu.
func (j *Journal) want() {
	j.wanted = true
	j.poke()
}

// poke makes the goroutine look for something to do.
func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// wait returns after the next broadcast. Called with mu, which it gives up
// meanwhile.
func (j *Journal) wait(ctx context.Context) error {
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	changed := j.changed
	j.mu.Unlock()
	defer j.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// broadcast wakes all who wait. Called with mu.
func (j *Journal) broadcast() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// checkBlock judges a block that is to become part of a transaction.
func (j *Journal) checkBlock(bn disk.BlockNum) error {
	if uint64(bn) >= j.cfg.FSBlocks {
		return &disk.CorruptError{What: "block number", Block: bn,
			Detail: fmt.Sprintf("the file system has %d blocks", j.cfg.FSBlocks)}
	}
	if j.cfg.Log != nil && j.cfg.Log.holds(bn) {
		return &disk.CorruptError{What: "block number", Block: bn, Detail: "it is part of the journal"}
	}
	return nil
}

// RunningID is the running transaction, or the next one if none is.
func (j *Journal) RunningID() uint32 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running != nil {
		return j.running.id
	}
	return j.nextID
}

// Hold keeps the transaction that runs, or will run next, open until release
// is called: what one goroutine does meanwhile is durable as a whole or not at
// all. Commits wait for the release; Begin gives ErrHeld instead of waiting when
// there is no room left. release may be called more than once.
//
// A commit that is due or that somebody waits for comes first, as does a
// checkpoint, and Hold waits for it, with ctx: he may have what the holder is going to want, such as the lock of
// an inode, and those who hold by turns would put it off for ever. So the caller
// must have neither a handle nor a hold.
func (j *Journal) Hold(ctx context.Context) (release func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if err := j.usable(); err != nil {
			return nil, err
		}
		if j.closing {
			return nil, ErrClosed
		}
		if (j.running == nil || !j.wanted) && len(j.jobs) == 0 {
			break
		}
		if err := j.wait(ctx); err != nil { // an abort ends it
			return nil, err
		}
	}
	j.holds++
	var once sync.Once
	return func() {
		once.Do(func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.holds--
			j.poke()
		})
	}, nil
}

// Pinned returns the newest version of a block that is not home yet, or nil:
// whoever reads a block past the cache must look here first.
func (j *Journal) Pinned(bn disk.BlockNum) *cache.Buffer { return j.cache.Pinned(bn) }

// AnyPinned reports whether one of n blocks from bn on may be Pinned. It is
// cheap, and false is certain.
func (j *Journal) AnyPinned(bn disk.BlockNum, n uint64) bool { return j.cache.AnyPinned(bn, n) }
