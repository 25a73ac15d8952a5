package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The engine's log is that of synth, byte for byte: revokes, several
// descriptors, escaped blocks, the end of the ring.
func TestCommit_bytes(t *testing.T) {
	forKinds(t, func(t *testing.T, k kind) {
		k.incompat |= disk.JournalIncompatRevoke
		w := newWorld(t, k, 1024, nil)
		s := newSynth(t, k, 1024, worldLog, 1, 2)
		s.sb.UUID = [16]byte{7, 8, 9}
		s.sb.Sequence, s.sb.Start = 2, 1
		s.super()
		w.cfg.Now = func() time.Time { return time.Unix(int64(s.time), 5) }
		w.start()
		for i := range 5 {
			var writes []write
			var revokes []disk.BlockNum
			h := w.begin(200)
			for n := range disk.BlockNum(160) {
				bn := n*2 + disk.BlockNum(i)
				b, err := h.Fresh(bn, nil)
				if err != nil {
					t.Fatal(err)
				}
				put(b.Data(), uint64(n))
				writes = append(writes, write{bn, bytes.Clone(b.Data())})
			}
			if i == 2 {
				// All but the last were logged before, two are so now.
				revokes = []disk.BlockNum{1, 3, 4, 40}
				for _, bn := range []disk.BlockNum{40, 3, 1, 4, 399} {
					h.Forget(bn)
				}
				writes = keep(writes, revokes)
			}
			w.commit(w.end(h))
			s.commit(writes, revokes)
		}
		got := make([]byte, worldLog*w.bs)
		if err := w.log.ReadBlocks(0, got); err != nil {
			t.Fatal(err)
		}
		for n := 1; n < worldLog; n++ {
			if !bytes.Equal(got[n*w.bs:][:w.bs], s.log.block(uint32(n))) {
				h, _ := disk.DecodeJournalHeader(got[n*w.bs:])
				t.Fatalf("log block %d (%v of %d) differs", n, h.Type, h.Sequence)
			}
		}
		sb, _, _ := ReadSuperblock(w.log, w.bs)
		if sb.Incompat != k.incompat || sb.Compat != k.compat {
			t.Errorf("features %x %x", sb.Compat, sb.Incompat)
		}
	})
}

// keep drops the writes of blocks that were forgotten.
func keep(writes []write, gone []disk.BlockNum) (kept []write) {
next:
	for _, x := range writes {
		for _, bn := range gone {
			if x.home == bn {
				continue next
			}
		}
		kept = append(kept, x)
	}
	return kept
}

// pairSealer puts what its peer holds into a block, as a descriptor takes the
// checksum of its bitmap.
type pairSealer struct{ peer disk.BlockNum }

func (s pairSealer) Seal(_ disk.BlockNum, data []byte, peer func(disk.BlockNum) []byte) {
	if p := peer(s.peer); p != nil {
		binary.LittleEndian.PutUint64(data[16:], valueOf(p))
	}
	if peer(1000) != nil {
		data[24] = 1
	}
}

func TestSealer_seesPeers(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.start()
	h := w.begin(2)
	b, _ := h.Fresh(1, pairSealer{2})
	binary.LittleEndian.PutUint64(b.Data()[8:], 5)
	p, _ := h.Fresh(2, nil)
	binary.LittleEndian.PutUint64(p.Data()[8:], 77)
	w.commit(w.end(h))
	got, _ := w.cache.Get(1)
	if v := binary.LittleEndian.Uint64(got.Data()[16:]); v != 77 || got.Data()[24] != 0 {
		t.Errorf("sealed with %d", v)
	}
	if binary.LittleEndian.Uint64(b.Data()[16:]) != 0 {
		t.Error("the running version was sealed")
	}
	// The peer is not part of the next transaction.
	h = w.begin(1)
	b, _ = h.Write(1, pairSealer{2})
	binary.LittleEndian.PutUint64(b.Data()[16:], 1)
	w.commit(w.end(h))
	got, _ = w.cache.Get(1)
	if v := binary.LittleEndian.Uint64(got.Data()[16:]); v != 1 {
		t.Errorf("sealed with %d of a block that is no peer", v)
	}
}

// Many who wait at the same time share commits.
func TestCommit_isShared(t *testing.T) {
	w := newWorld(t, kinds[6], 1024, nil)
	j := w.start()
	release := w.hold() // lets all of them come
	var wg, ended sync.WaitGroup
	ended.Add(50)
	for i := range 50 {
		wg.Go(func() {
			h, err := j.Begin(context.Background(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := h.Fresh(disk.BlockNum(i), testSealer{})
			if err != nil {
				t.Error(err)
				return
			}
			put(b.Data(), 1)
			id := h.ID()
			if err := h.End(); err != nil {
				t.Error(err)
			}
			ended.Done()
			if err := j.Commit(context.Background(), id); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	release()
	wg.Wait()
	// Who came late to Commit finds it done.
	if n := j.Stats().Commits; n != 1 {
		t.Errorf("%d commits for 50 callers", n)
	}
}

// What is not home stays below a share of the cache, however long the log.
func TestCache_boundsTransactions(t *testing.T) {
	w := newWorld(t, kinds[6], 1024, nil)
	w.cache = cache.New(w.dev, w.bs, w.blocks, cache.Options{MaxBytes: 128 << 10})
	j := w.start()
	for i := range 60 {
		var blocks []disk.BlockNum
		for n := range 30 {
			blocks = append(blocks, disk.BlockNum((i*30+n)%390))
		}
		w.commit(w.change(uint64(i+1), blocks...))
		// The commit returns before what follows it.
		if st := j.Stats(); st.Pending > 64+30 {
			t.Fatalf("%d blocks are not home, of 64", st.Pending)
		}
	}
	if st := j.Stats(); st.Checkpoints < 10 {
		t.Errorf("%+v", st)
	}
}
