package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomSuper is a superblock of random bytes with the right magic.
func randomSuper(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, SuperblockSize)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	le.PutUint16(b[0x38:], SuperblockMagic)
	return b
}

func TestSuperblock_encodeIsInverseOfDecode(t *testing.T) {
	for seed := range uint64(200) {
		b := randomSuper(seed)
		if seed%4 == 0 {
			le.PutUint32(b[0x4c:], 0) // revision 0
		}
		var s Superblock
		if err := s.Decode(b); err != nil {
			t.Fatal(err)
		}
		out := make([]byte, SuperblockSize)
		s.Encode(out)
		if !bytes.Equal(b, out) {
			for i := range b {
				if b[i] != out[i] {
					t.Fatalf("seed %d: byte 0x%x is %02x, was %02x", seed, i, out[i], b[i])
				}
			}
		}
	}
}

func TestSuperblock_everyFieldIsWritten(t *testing.T) {
	// Decoding random bytes into a zeroed original and encoding them again
	// shows which bytes fields cover: all but the reserved ones.
	var s Superblock
	b := randomSuper(99)
	le.PutUint32(b[0x4c:], 1)
	if err := s.Decode(b); err != nil {
		t.Fatal(err)
	}
	s.raw = [SuperblockSize]byte{}
	out := make([]byte, SuperblockSize)
	s.Encode(out)
	reserved := func(i int) bool { return i == 0x177 || i >= 0x288 && i < 0x3fc }
	for i := range out {
		if want := b[i]; !reserved(i) && out[i] != want {
			t.Errorf("byte 0x%x is %02x, want %02x", i, out[i], want)
		}
	}
}

func TestSuperblock_seal(t *testing.T) {
	b := randomSuper(5)
	SealSuperblock(b)
	if stored, computed := VerifySuperblock(b); stored != computed {
		t.Errorf("stored %08x, computed %08x", stored, computed)
	}
	b[0x200] ^= 1
	if stored, computed := VerifySuperblock(b); stored == computed {
		t.Error("a flipped bit went unnoticed")
	}
}

func TestSuperblock_decodeRefuses(t *testing.T) {
	var s Superblock
	if err := s.Decode(make([]byte, 100)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short: %v", err)
	}
	if err := s.Decode(make([]byte, SuperblockSize)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no magic: %v", err)
	}
}

// sane is a 4 KiB block file system of three groups, the last one short.
func sane() Superblock {
	return Superblock{
		RevLevel: 1, LogBlockSize: 2, LogClusterSize: 2, BlocksPerGroup: 32768, ClustersPerGroup: 32768,
		InodesPerGroup: 8192, InodesCount: 3 * 8192, BlocksCount: 2*32768 + 1000, RawInodeSize: 256,
		FirstInode: 11, Features: Features{
			Incompat: IncompatExtents | IncompatFiletype,
			ROCompat: ROCompatSparseSuper,
		},
	}
}

func TestSuperblock_validate(t *testing.T) {
	good := sane()
	if err := good.Validate(-1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		harm func(*Superblock)
	}{
		{"block size", func(s *Superblock) { s.LogBlockSize = 7 }},
		{"inode size 0", func(s *Superblock) { s.RawInodeSize = 0 }},
		{"inode size odd", func(s *Superblock) { s.RawInodeSize = 200 }},
		{"inode size large", func(s *Superblock) { s.RawInodeSize = 8192 }},
		{"no blocks per group", func(s *Superblock) { s.BlocksPerGroup = 0 }},
		{"many blocks per group", func(s *Superblock) { s.BlocksPerGroup = 1 << 20 }},
		{"no inodes per group", func(s *Superblock) { s.InodesPerGroup = 0 }},
		{"many inodes per group", func(s *Superblock) { s.InodesPerGroup = 1 << 20 }},
		{"no inodes", func(s *Superblock) { s.InodesCount = 0 }},
		{"many inodes", func(s *Superblock) { s.InodesCount = 4 * 8192 }},
		{"no blocks", func(s *Superblock) { s.BlocksCount = 0 }},
		{"first data block", func(s *Superblock) { s.FirstDataBlock = 1 }},
		{"descriptor size", func(s *Superblock) { s.Features.Incompat |= Incompat64bit; s.RawDescSize = 32 }},
		{"too many blocks", func(s *Superblock) {
			s.Features.Incompat |= Incompat64bit
			s.RawDescSize, s.BlocksCount = 64, 1<<60
		}},
		{"cluster size", func(s *Superblock) { s.Features.ROCompat |= ROCompatBigalloc; s.LogClusterSize = 1 }},
		{"clusters per group", func(s *Superblock) { s.Features.ROCompat |= ROCompatBigalloc; s.ClustersPerGroup = 5 }},
		{"meta_bg", func(s *Superblock) { s.Features.Incompat |= IncompatMetaBG; s.FirstMetaBG = 9 }},
	} {
		s := sane()
		c.harm(&s)
		if err := s.Validate(-1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := good.Validate(1 << 20); !errors.Is(err, ErrCorrupt) {
		t.Errorf("larger than the device: %v", err)
	}
}

func TestSuperblock_geometry(t *testing.T) {
	s := sane()
	if g := s.Groups(); g != 3 {
		t.Errorf("groups = %d", g)
	}
	if n := s.GroupBlocks(2); n != 1000 {
		t.Errorf("last group has %d blocks", n)
	}
	if n := s.GroupBlocks(3); n != 0 {
		t.Errorf("a group beyond the end has %d blocks", n)
	}
	if g, i := s.InodeGroup(8193); g != 1 || i != 0 {
		t.Errorf("inode 8193 is %d in group %d", i, g)
	}
	var supers []string
	for g := GroupNum(0); g < 130; g++ {
		if s.HasSuper(g) {
			supers = append(supers, string(rune('0'+g%10)))
		}
	}
	// 0 1 3 5 7 9 25 27 49 81 125
	if got := strings.Join(supers, ""); got != "01357957915" {
		t.Errorf("groups with a superblock: %s", got)
	}
	if first, n := s.BaseMeta(1); first != 32768 || n != 2 {
		t.Errorf("group 1 begins with %d blocks at %d", n, first)
	}
	if _, n := s.BaseMeta(2); n != 0 {
		t.Errorf("group 2 begins with %d blocks", n)
	}
}

func TestFeatures_roundTrip(t *testing.T) {
	for bit := range 32 {
		for _, f := range []Features{{Compat: 1 << bit}, {Incompat: 1 << bit}, {ROCompat: 1 << bit}} {
			got, err := ParseFeatures(f.String(), Features{})
			if err != nil || got != f {
				t.Errorf("%+v became %q and %+v, %v", f, f.String(), got, err)
			}
		}
	}
}

func TestParseFeatures(t *testing.T) {
	base := Features{Compat: CompatHasJournal, Incompat: IncompatExtents}
	got, err := ParseFeatures("^has_journal,extents quota,^64bit", base)
	want := Features{Incompat: IncompatExtents, ROCompat: ROCompatQuota}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, _ := ParseFeatures("none,mmp", base); got != (Features{Incompat: IncompatMMP}) {
		t.Errorf("none: %+v", got)
	}
	if _, err := ParseFeatures("no_such", base); err == nil {
		t.Error("an unknown name passed")
	}
	if _, err := ParseFeatures("^", base); err == nil {
		t.Error("a lone ^ passed")
	}
}

func TestIncompat_unreadable(t *testing.T) {
	if bad := (IncompatExtents | IncompatCasefold | IncompatEncrypt | IncompatLargeDir).Unreadable(); bad != 0 {
		t.Errorf("readable features are refused: %v", bad.Names())
	}
	got := (IncompatExtents | IncompatCompression | IncompatJournalDev | 1<<20).Unreadable().Names()
	if want := "compression journal_dev FEATURE_I20"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestSealSuperblockStill: the checksum stays, is right, and nothing else
// changes but padding.
func TestSealSuperblockStill(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 1000 {
		b := make([]byte, SuperblockSize)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		long := n%5 == 0
		if copy(b[0x88:], "/mnt\x00"); long {
			copy(b[0x88:0xc8], strings.Repeat("/long", 13))
		}
		before := bytes.Clone(b)
		SealSuperblockStill(b)
		stored, computed := VerifySuperblock(b)
		if stored != computed {
			t.Fatalf("checksum %#x is wrong, want %#x", stored, computed)
		}
		for i := range b {
			if b[i] != before[i] && (long && i < 0x3fc || !long && (i < 0xc4 || i >= 0xc8)) {
				t.Fatalf("byte %#x changed", i)
			}
		}
	}
}

func TestSuperblock_EncodeOrphan(t *testing.T) {
	var s Superblock
	if err := s.Decode(randomSuper(7)); err != nil {
		t.Fatal(err)
	}
	out, want := make([]byte, SuperblockSize), make([]byte, SuperblockSize)
	s.Encode(out)
	s.LastOrphan, s.WriteTime = 0x12345678, 0xfedcba9876
	s.EncodeOrphan(out)
	s.Encode(want)
	if !bytes.Equal(out, want) {
		t.Errorf("the superblocks differ:\n%x\n%x", out, want)
	}
}
