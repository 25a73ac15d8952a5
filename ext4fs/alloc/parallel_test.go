package alloc

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// worker allocates and frees as one of many.
type worker struct {
	t    *testing.T
	id   int
	m    *model
	mu   *sync.Mutex // of the model
	own  []Run
	inos []disk.InodeNum
}

func (k *worker) claim(r Run, used bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for b := r.Start; b < r.Start+disk.BlockNum(r.Len); b++ {
		if k.m.used[b] == used {
			k.t.Errorf("block %d twice", b)
		}
		k.m.used[b] = used
	}
}

func (k *worker) step(tx cache.Tx, i int) {
	a := k.m.w.a
	switch i % 5 {
	case 0, 1, 2:
		bn, n, err := a.Alloc(tx, Request{Inode: disk.InodeNum(50 + k.id), Logical: disk.LogicalNum(i * 40), Len: uint32(1 + i*7%60)})
		if err == nil {
			k.own = append(k.own, Run{bn, uint64(n)})
			k.claim(Run{bn, uint64(n)}, true)
		} else if !errors.Is(err, ErrNoSpace) {
			k.t.Error(err)
		}
	case 3:
		n, _, err := a.NewInode(tx, NewInode{Parent: 2, Dir: i%2 == 0, Name: []byte{byte(i)}})
		if errors.Is(err, ErrNoInodes) {
			return
		}
		if err != nil {
			k.t.Error(err)
			return
		}
		k.inos = append(k.inos, n)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.m.inode[n] {
			k.t.Errorf("inode %d twice", n)
		}
		k.m.inode[n] = true
		if i%2 == 0 {
			k.m.dirs[n] = true
		}
	default:
		k.free(tx)
	}
}

func (k *worker) free(tx cache.Tx) {
	a := k.m.w.a
	if len(k.own) > 0 {
		r := k.own[0]
		k.own = k.own[1:]
		k.claim(r, false)
		if err := a.Free(tx, r.Start, r.Len); err != nil {
			k.t.Error(err)
		}
	}
	if len(k.inos) > 3 {
		n := k.inos[0]
		k.inos = k.inos[1:]
		k.mu.Lock()
		dir := k.m.dirs[n]
		delete(k.m.inode, n)
		delete(k.m.dirs, n)
		k.mu.Unlock()
		if err := a.FreeInode(tx, n, dir); err != nil {
			k.t.Error(err)
		}
	}
}

// work lets eight workers loose, and calls commit all the time meanwhile.
func work(t *testing.T, m *model, begin func() (cache.Tx, func()), commit func()) {
	a := m.w.a
	var mu sync.Mutex
	stop := make(chan struct{})
	var committer, workers sync.WaitGroup
	committer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			commit()
			if _, err := a.Trim(context.Background(), 0, 1<<20, 1, func(disk.BlockNum, uint64) error { return nil }); err != nil {
				t.Error(err)
			}
		}
	})
	for id := range 8 {
		workers.Go(func() {
			k := &worker{t: t, id: id, m: m, mu: &mu}
			for i := range 250 {
				tx, end := begin()
				k.step(tx, i)
				end()
				if i%50 == 49 {
					a.Release(disk.InodeNum(50 + id))
					a.Counts()
					if _, err := a.BlockBitmap(disk.GroupNum(id)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	committer.Wait()
}

func TestAllocator_parallel(t *testing.T) {
	w := newWorld(t, mkfs(t, 48<<20, "-b", "1024", "-g", "1024"), nil)
	m := newModel(w, 4)
	var gate sync.RWMutex
	work(t, m, func() (cache.Tx, func()) {
		gate.RLock()
		return w, gate.RUnlock
	}, func() {
		gate.Lock() // no handle is open
		c := w.close()
		gate.Unlock()
		w.commit(c)
	})
	w.sync()
	w.noDamage()
	m.check(w.a)
	m.onDisk()
}

func TestAllocator_withJournal(t *testing.T) {
	w := newWorld(t, mkfs(t, 48<<20, "-b", "1024", "-g", "1024"), nil)
	m := newModel(w, 5)
	ctx := context.Background()
	j, err := journal.Start(journal.Config{Cache: w.cache, Device: w.ram, Interval: -1, OnCommit: w.a.Committed})
	if err != nil {
		t.Fatal(err)
	}
	work(t, m, func() (cache.Tx, func()) {
		h, err := j.Begin(ctx, 32)
		if err != nil {
			t.Error(err)
			return w, func() {}
		}
		return h, func() {
			if err := h.End(); err != nil {
				t.Error(err)
			}
		}
	}, func() {
		if err := j.Sync(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := j.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.noDamage()
	m.check(w.a)
	m.onDisk()
	if w.a.Pending() {
		t.Error("pending after the last commit")
	}
}

// Nobody is told that there is no space as long as there is some, even when
// all of it is claimed or set aside at times.
func TestAlloc_fullForAllAtOnce(t *testing.T) {
	for round := range 5 {
		w := newWorld(t, mkfs(t, 12<<20, "-b", "1024", "-g", "1024"), nil)
		var wg sync.WaitGroup
		for id := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					r := Request{Inode: disk.InodeNum(50 + id), Logical: disk.LogicalNum(i * 20), Len: uint32(1 + (i+id)%20)}
					if _, _, err := w.a.Alloc(w, r); errors.Is(err, ErrNoSpace) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if c := w.a.Counts(); c.FreeBlocks != w.a.Pool() {
			t.Fatalf("round %d: %d blocks are free, the pool has %d", round, c.FreeBlocks, w.a.Pool())
		}
	}
}
