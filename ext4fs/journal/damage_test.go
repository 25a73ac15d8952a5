package journal

import (
	"context"
	"errors"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// threeTransactions is a log of transactions 5, 6, 7, of block id each and
// block 1, with what to damage in the one in the middle or the last.
func threeTransactions(t *testing.T, k kind) (*synth, map[uint32]places) {
	s := newSynth(t, k, 1024, 100, 90, 5)
	p := map[uint32]places{}
	for id := uint32(5); id < 8; id++ {
		p[id] = s.commit([]write{{disk.BlockNum(id), fill(1024, id)}, {1, fill(1024, 10*id+1)}}, []disk.BlockNum{300})
	}
	return s, p
}

func TestLoad_damage(t *testing.T) {
	v1 := kind{"v1", disk.JournalCompatChecksum, 0}
	v3 := kinds[6]
	async := kind{"v3_async", 0, v3.incompat | disk.JournalIncompatAsyncCommit}
	asyncV1 := kind{"v1_async", disk.JournalCompatChecksum, disk.JournalIncompatAsyncCommit}
	flip := func(pick func(p places) uint32, off int) func(s *synth, p places) {
		return func(s *synth, p places) { s.log.block(pick(p))[off] ^= 1 }
	}
	commit := func(p places) uint32 { return p.commit }
	desc := func(p places) uint32 { return p.descriptor[0] }
	revoke := func(p places) uint32 { return p.revoke[0] }
	data := func(p places) uint32 { return p.data[0] }
	const quiet = ""
	for _, c := range []struct {
		name  string
		kind  kind
		id    uint32 // transaction to damage
		harm  func(s *synth, p places)
		err   string // of what the error speaks; none if it is just the end
		end   uint32 // transactions before this remain
		where func(p places) uint32
	}{
		{"commit checksum", v3, 6, flip(commit, 0x10), "journal commit block", 6, commit},
		{"commit time", v3, 6, flip(commit, 0x37), "journal commit block", 6, commit},
		{"last commit", v3, 7, flip(commit, 0x11), "journal commit block", 7, commit},
		{"descriptor", v3, 6, flip(desc, 700), "journal descriptor block", 6, desc},
		{"descriptor, v2", kinds[3], 6, flip(desc, 700), "journal descriptor block", 6, desc},
		{"revoke block", v3, 6, flip(revoke, 700), "journal revoke block", 6, revoke},
		{"data block", v3, 6, flip(data, 99), "journal data block", 6, data},
		{"data block of the last", v3, 7, flip(data, 99), "journal data block", 7, data},
		{"data block, v2", kinds[4], 6, flip(data, 99), "journal data block", 6, data},
		{"data block, no checksums", kinds[1], 6, flip(data, 99), quiet, 8, nil},
		{"commit magic", v3, 6, flip(commit, 0), quiet, 6, nil},
		{"commit sequence", v3, 6, flip(commit, 11), quiet, 6, nil},
		{"descriptor magic", v3, 6, flip(desc, 0), quiet, 6, nil},
		{"unknown type", v3, 6, flip(desc, 5), quiet, 6, nil},
		{"v1, data", v1, 6, flip(data, 99), "journal transaction", 6, commit},
		{"v1, descriptor", v1, 7, flip(desc, 900), "journal transaction", 7, commit},
		{"v1, no checksum stored", v1, 6, func(s *synth, p places) { clear(s.log.block(p.commit)[0x0c:0x30]) }, quiet, 8, nil},
		{"v1, wrong size stored", v1, 6, flip(commit, 0x0d), "journal transaction", 6, commit},
		{"async, last commit", async, 7, flip(commit, 0x10), quiet, 7, nil},
		{"async, commit in the middle", async, 6, flip(commit, 0x10), "journal commit block", 6, commit},
		{"async, descriptor", async, 7, flip(desc, 700), "journal descriptor block", 7, desc},
		{"async v1, last data", asyncV1, 7, flip(data, 99), quiet, 7, nil},
		{"async v1, data in the middle", asyncV1, 6, flip(data, 99), "journal transaction", 6, commit},
		{"torn commit block", v3, 7, func(s *synth, p places) { s.log.block(p.commit)[600] = 1 }, quiet, 8, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, p := threeTransactions(t, c.kind)
			c.harm(s, p[c.id])
			r, err := s.load(Options{})
			if c.err == quiet {
				if err != nil || r.EndID != c.end || len(r.Transactions) != int(c.end-5) {
					t.Fatalf("%v, %v; want the end before %d", r, err, c.end)
				}
				return
			}
			checkDamage(t, err, c.err, c.id, c.where(p[c.id]))
			r = s.mustLoad(Options{IgnoreChecksums: true})
			checkDamage(t, r.Damage, c.err, c.id, c.where(p[c.id]))
			if r.EndID != c.end || len(r.Transactions) != int(c.end-5) || r.Head != p[c.id].revoke[0] {
				t.Errorf("%v, head %d", r, r.Head)
			}
			for id := uint32(5); id < 8; id++ {
				if _, _, ok := r.Replayed(disk.BlockNum(id)); ok != (id < c.end) {
					t.Errorf("block of transaction %d: replayed %v", id, ok)
				}
			}
		})
	}
}

func checkDamage(t *testing.T, err error, what string, id, log uint32) {
	t.Helper()
	var te *TransactionError
	var ce *disk.ChecksumError
	if !errors.As(err, &te) || !errors.As(err, &ce) || !errors.Is(err, disk.ErrChecksum) {
		t.Fatalf("error %v", err)
	}
	if te.Transaction != id || te.LogBlock != log || ce.What != what {
		t.Errorf("error %v, want one of %s in transaction %d, log block %d", err, what, id, log)
	}
}

// Blocks of an earlier lap of the log can have the right numbers. Their commit
// times tell.
func TestLoad_staleBlocks(t *testing.T) {
	for _, pick := range []func(s *synth, p places){
		func(s *synth, p places) { s.log.block(p.descriptor[0])[700] ^= 1 },
		func(s *synth, p places) { s.log.block(p.revoke[0])[700] ^= 1 },
		func(s *synth, p places) { s.log.block(p.commit)[0x10] ^= 1 },
	} {
		s, _ := threeTransactions(t, kinds[6])
		s.time -= 100
		pick(s, s.commit([]write{{9, fill(1024, 9)}}, []disk.BlockNum{4}))
		if r := s.mustLoad(Options{}); r.EndID != 8 || r.Damage != nil {
			t.Errorf("%v", r)
		}
	}
}

// What a later transaction revoked is not read, so it may be damaged. A reader
// who goes on in spite of damage wants to know all the same.
func TestLoad_damagedButRevoked(t *testing.T) {
	s, p := threeTransactions(t, kinds[6])
	s.commit(nil, []disk.BlockNum{6})
	s.log.block(p[6].data[0])[3] ^= 1
	if r := s.mustLoad(Options{}); r.EndID != 9 {
		t.Errorf("%v", r)
	}
	if r := s.mustLoad(Options{IgnoreChecksums: true}); r.EndID != 6 || r.Damage == nil {
		t.Errorf("%v", r)
	}
}

func TestLoad_corrupt(t *testing.T) {
	t.Run("home outside", func(t *testing.T) {
		s, p := threeTransactions(t, kinds[6])
		_, err := s.load(Options{FSBlocks: 7})
		var te *TransactionError
		if !errors.Is(err, disk.ErrCorrupt) || !errors.As(err, &te) || te.Transaction != 7 || te.LogBlock != p[7].data[0] {
			t.Errorf("error %v", err)
		}
		if r := s.mustLoad(Options{FSBlocks: 7, IgnoreChecksums: true}); r.EndID != 7 {
			t.Errorf("%v", r)
		}
	})
	t.Run("revoke count", func(t *testing.T) {
		s, p := threeTransactions(t, kinds[6])
		b := s.log.block(p[6].revoke[0])
		b[disk.JournalHeaderSize+2] = 0xff
		s.f.SealTail(b)
		_, err := s.load(Options{})
		var te *TransactionError
		if !errors.Is(err, disk.ErrCorrupt) || !errors.As(err, &te) || te.Transaction != 6 {
			t.Errorf("error %v", err)
		}
		if r := s.mustLoad(Options{IgnoreChecksums: true}); r.EndID != 6 {
			t.Errorf("%v", r)
		}
	})
	t.Run("revoke count and data before it", func(t *testing.T) {
		s, p := threeTransactions(t, kinds[6])
		b := s.log.block(p[7].revoke[0])
		b[disk.JournalHeaderSize+2] = 0xff
		s.f.SealTail(b)
		s.log.block(p[6].data[0])[9] ^= 1
		r := s.mustLoad(Options{IgnoreChecksums: true})
		if r.EndID != 6 || !errors.Is(r.Damage, disk.ErrChecksum) || r.Blocks() != 2 {
			t.Errorf("%v, %v", r, r.Damage)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		for _, pick := range []func(p places) uint32{
			func(p places) uint32 { return p.commit },
			func(p places) uint32 { return p.data[1] },
		} {
			s, p := threeTransactions(t, kinds[6])
			n := pick(p[6])
			s.log.bad = map[uint32]bool{n: true}
			for _, ignore := range []bool{false, true} {
				_, err := s.load(Options{IgnoreChecksums: ignore})
				var be *BlockError
				if !errors.As(err, &be) || be.LogBlock != n {
					t.Errorf("error %v", err)
				}
			}
		}
	})
	t.Run("superblock checksum", func(t *testing.T) {
		s, _ := threeTransactions(t, kinds[6])
		s.log.block(0)[0x58] = 1
		if _, err := s.load(Options{}); !errors.Is(err, disk.ErrChecksum) {
			t.Errorf("error %v", err)
		}
		if r := s.mustLoad(Options{IgnoreChecksums: true}); r.EndID != 8 {
			t.Errorf("%v", r)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		s, _ := threeTransactions(t, kinds[6])
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Load(ctx, s.log, Options{BlockSize: 1024, NeedsRecovery: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}
