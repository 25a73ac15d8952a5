package journal

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Random transactions in every format, against a model that knows nothing of
// logs: the ring wraps, numbers wrap, descriptors overflow.
func TestLoad_model(t *testing.T) {
	for _, k := range kinds {
		for seed := range uint64(12) {
			t.Run(name("%s/%d", k.name, seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				bs := 1024 << rng.IntN(3)
				ring := uint32(300 + rng.IntN(300))
				s := newSynth(t, k, bs, ring+1, 1+uint32(rng.IntN(int(ring))), uint32(0)-uint32(rng.IntN(5)))
				model := map[disk.BlockNum][]byte{}
				for room := int(ring) - 5; ; {
					writes := make([]write, rng.IntN(90))
					revokes := make([]disk.BlockNum, rng.IntN(4)*rng.IntN(60))
					room -= len(writes) + len(writes)/s.f.MaxTags() + len(revokes)/s.f.MaxRevokes() + 3
					if room < 0 {
						break
					}
					for i := range writes {
						n := rng.Uint32()
						writes[i] = write{disk.BlockNum(n % 500), fill(bs, n)}
						model[writes[i].home] = writes[i].data
					}
					for i := range revokes {
						revokes[i] = disk.BlockNum(rng.IntN(500))
						delete(model, revokes[i])
					}
					s.commit(writes, revokes)
				}
				check(t, s.mustLoad(Options{FSBlocks: 500}), model, s.id, s.next)
			})
		}
	}
}

func check(t *testing.T, r *Recovery, model map[disk.BlockNum][]byte, end, head uint32) {
	t.Helper()
	if r.EndID != end || r.Head != head || !r.Needed {
		t.Errorf("ends before %d at block %d, want %d, %d", r.EndID, r.Head, end, head)
	}
	if r.Blocks() != len(model) {
		t.Errorf("%d blocks, want %d", r.Blocks(), len(model))
	}
	bs := r.bs
	all := make([]byte, 512*bs)
	if _, err := r.Overlay(base{bs, 4096}).ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	for n := range disk.BlockNum(512) {
		want, ok := model[n]
		if !ok {
			want = bytes.Repeat([]byte{byte(n)}, bs)
		}
		if !bytes.Equal(all[int(n)*bs:][:bs], want) {
			t.Errorf("block %d differs", n)
		}
		if _, _, replayed := r.Replayed(n); replayed != ok {
			t.Errorf("block %d: replayed %v, want %v", n, replayed, ok)
		}
	}
}

func TestLoad_blockAbove32Bits(t *testing.T) {
	for _, k := range kinds[1:] {
		s := newSynth(t, k, 1024, 64, 1, 7)
		home := disk.BlockNum(5<<32 | 6)
		s.commit([]write{{home, fill(1024, 3)}, {9, fill(1024, 4)}}, nil)
		s.commit(nil, []disk.BlockNum{6, 9})
		r := s.mustLoad(Options{})
		wide := k.incompat.Has(disk.JournalIncompat64bit)
		if _, _, ok := r.Replayed(home); ok != wide {
			t.Errorf("%s: block %d replayed %v", k.name, home, ok)
		}
		if _, _, ok := r.Replayed(6); ok {
			t.Errorf("%s: block 6 replayed", k.name)
		}
	}
}

// A revoke counts for copies of its own transaction and of earlier ones, also
// when the numbers wrap in between.
func TestLoad_revokeOrder(t *testing.T) {
	s := newSynth(t, kinds[0], 1024, 64, 1, ^uint32(0))
	a, b, c := fill(1024, 1), fill(1024, 2), fill(1024, 4)
	s.commit([]write{{1, a}, {2, a}, {3, a}}, nil)
	s.commit([]write{{1, b}}, []disk.BlockNum{1, 2, 3})
	s.commit([]write{{2, c}}, nil)
	r := s.mustLoad(Options{})
	check(t, r, map[disk.BlockNum][]byte{2: c}, 2, s.next)
	if r.Revokes != 3 || r.RevokeHits != 4 {
		t.Errorf("%d revokes, %d hits; want 3, 4", r.Revokes, r.RevokeHits)
	}
}

func TestLoad_emptyAndDiscarded(t *testing.T) {
	s := newSynth(t, kinds[6], 1024, 64, 1, 7)
	s.commit([]write{{1, fill(1024, 1)}}, nil)
	r, err := Load(t.Context(), s.log, Options{BlockSize: 1024})
	if err != nil || r.Needed || !r.Discarded || r.Blocks() != 0 {
		t.Errorf("without needs_recovery: %+v, %v", r, err)
	}
	s.sb.Start, s.sb.Sequence = 0, 9
	s.super()
	r = s.mustLoad(Options{})
	if r.Needed || r.Discarded || r.EndID != 10 || r.Blocks() != 0 {
		t.Errorf("empty log: %+v", r)
	}
	if d := r.Overlay(base{1024, 4}); d != (base{1024, 4}) {
		t.Errorf("overlay of nothing: %T", d)
	}
}

// The kernel's number for the transaction that a clean log is followed by.
func TestLoad_onlyAnOpenTransaction(t *testing.T) {
	s := newSynth(t, kinds[6], 1024, 64, 1, 7)
	p := s.commit([]write{{1, fill(1024, 1)}}, nil)
	clear(s.log.block(p.commit))
	r := s.mustLoad(Options{})
	check(t, r, nil, 7, 1)
}

func TestLoad_emptyTransactions(t *testing.T) {
	s := newSynth(t, kinds[6], 1024, 64, 60, 7)
	for range 10 {
		s.commit(nil, nil)
	}
	r := s.mustLoad(Options{})
	check(t, r, nil, 17, s.next)
	if len(r.Transactions) != 10 || r.Transactions[9].Blocks != 1 {
		t.Errorf("transactions %+v", r.Transactions)
	}
}

// A log that fills its ring to the last block ends there.
func TestLoad_fullRing(t *testing.T) {
	s := newSynth(t, kinds[0], 1024, 11, 4, 1)
	model := map[disk.BlockNum][]byte{}
	for i := range uint32(2) {
		w := []write{{disk.BlockNum(i), fill(1024, i)}, {9, fill(1024, i)}, {10, fill(1024, i)}}
		s.commit(w, nil)
		for _, w := range w {
			model[w.home] = w.data
		}
	}
	check(t, s.mustLoad(Options{}), model, 3, 4)
}

// A transaction that goes around the ring for ever has no commit block.
func TestLoad_biteOwnTail(t *testing.T) {
	s := newSynth(t, kinds[0], 1024, 6, 1, 1)
	tags := make([]disk.JournalTag, 4)
	s.f.EncodeDescriptor(s.log.block(1), 1, tags)
	check(t, s.mustLoad(Options{}), nil, 1, 1)
	s.f.EncodeDescriptor(s.log.block(1), 1, tags[:1])
	s.f.EncodeDescriptor(s.log.block(3), 1, tags[:2])
	check(t, s.mustLoad(Options{}), nil, 1, 1)
}

func TestLoad_externalFirstBlock(t *testing.T) {
	s := newSynth(t, kinds[6], 1024, 64, 3, 7)
	copy(s.log.block(2), s.log.block(0))
	clear(s.log.block(0))
	s.log.super = 2
	s.sb.First = 3
	s.sb.Encode(s.log.block(2))
	disk.SealJournalSuperblock(s.log.block(2))
	s.commit([]write{{1, fill(1024, 1)}}, nil)
	check(t, s.mustLoad(Options{}), map[disk.BlockNum][]byte{1: fill(1024, 1)}, 8, s.next)
}
