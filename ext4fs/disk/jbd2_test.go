package disk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// journalFormats are all forms of tags and checksums.
func journalFormats() []JournalFormat {
	var list []JournalFormat
	for _, bs := range []int{1024, 4096, 65536} {
		for _, i := range []JournalIncompat{
			0, JournalIncompat64bit, JournalIncompatCsumV2, JournalIncompatCsumV2 | JournalIncompat64bit,
			JournalIncompatCsumV3, JournalIncompatCsumV3 | JournalIncompat64bit,
		} {
			list = append(list, JournalFormat{BlockSize: bs, Incompat: i, Seed: 0x12345678})
		}
	}
	return list
}

func (f JournalFormat) testName() string {
	return fmt.Sprintf("%d/%s", f.BlockSize, strings.Join(f.Incompat.Names(), "+"))
}

func randomBytes(seed uint64, n int) []byte {
	rng, b := rand.New(rand.NewPCG(seed, 3)), make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestJournalSuperblock_roundTrip(t *testing.T) {
	for _, typ := range []JournalBlockType{JournalSuperblockV1, JournalSuperblockV2} {
		b := randomBytes(uint64(typ), JournalSuperblockSize)
		JournalHeader{typ, 77}.Encode(b)
		var s JournalSuperblock
		if err := s.Decode(b); err != nil {
			t.Fatal(err)
		}
		out := make([]byte, JournalSuperblockSize)
		s.Encode(out)
		if !bytes.Equal(b, out) {
			t.Errorf("type %d: encoded bytes differ", typ)
		}
		var again JournalSuperblock
		if err := again.Decode(out); err != nil || again != s {
			t.Errorf("type %d: decoded again: %v", typ, err)
		}
	}
}

// The last field ends where the structure does, and a change of every field
// comes back.
func TestJournalSuperblock_fields(t *testing.T) {
	var s JournalSuperblock
	b := make([]byte, JournalSuperblockSize)
	JournalHeader{JournalSuperblockV2, 0}.Encode(b)
	if err := s.Decode(b); err != nil {
		t.Fatal(err)
	}
	s.BlockSize, s.MaxLen, s.First, s.Sequence, s.Start, s.Errno = 1, 2, 3, 4, 5, -6
	s.Compat, s.Incompat, s.ROCompat, s.UUID, s.NrUsers, s.DynSuper = 7, 8, 9, [16]byte{10}, 11, 12
	s.MaxTransaction, s.MaxTransData, s.ChecksumType, s.NumFastBlocks, s.Head = 13, 14, 15, 16, 17
	s.Users[47][15] = 18
	s.Encode(b)
	SealJournalSuperblock(b)
	want := "c03b39980000000400000000" +
		"000000010000000200000003" + "0000000400000005fffffffa" +
		"000000070000000800000009" + "0a000000000000000000000000000000" +
		"0000000b0000000c0000000d0000000e" + "0f0000000000001000000011"
	if got := hex.EncodeToString(b[:0x5c]); got != want {
		t.Errorf("encoded\n%s, want\n%s", got, want)
	}
	if b[JournalSuperblockSize-1] != 18 {
		t.Error("the last user does not end the superblock")
	}
	if stored, computed := VerifyJournalSuperblock(b); stored != computed || stored == 0 {
		t.Errorf("checksum 0x%x, want 0x%x", stored, computed)
	}
	b[0x3ff]++
	if stored, computed := VerifyJournalSuperblock(b); stored == computed {
		t.Error("the checksum does not cover the last byte")
	}
}

func TestJournalSuperblock_decodeErrors(t *testing.T) {
	good := make([]byte, JournalSuperblockSize)
	JournalHeader{JournalSuperblockV2, 0}.Encode(good)
	badMagic, badType := bytes.Clone(good), bytes.Clone(good)
	badMagic[0] = 0
	badType[7] = 5
	for _, b := range [][]byte{nil, good[:1023], badMagic, badType} {
		if err := new(JournalSuperblock).Decode(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v", err)
		}
	}
}

func TestJournalSuperblock_validate(t *testing.T) {
	good := JournalSuperblock{Type: JournalSuperblockV2, BlockSize: 1024, MaxLen: 2000, First: 1, ChecksumType: 4}
	for _, c := range []struct {
		name string
		edit func(s *JournalSuperblock)
		want error
	}{
		{"good", func(*JournalSuperblock) {}, nil},
		{"all features", func(s *JournalSuperblock) { s.Incompat = JournalIncompatKnown &^ JournalIncompatCsumV2 }, nil},
		{"block size", func(s *JournalSuperblock) { s.BlockSize = 4096 }, ErrCorrupt},
		{"incompat", func(s *JournalSuperblock) { s.Incompat = 0x40 }, ErrUnsupported},
		{"ro_compat", func(s *JournalSuperblock) { s.ROCompat = 1 }, ErrUnsupported},
		{"unknown compat", func(s *JournalSuperblock) { s.Compat = 0x80 }, nil},
		{"v1 and v3", func(s *JournalSuperblock) { s.Compat, s.Incompat = 1, JournalIncompatCsumV3 }, ErrCorrupt},
		{"v2 and v3", func(s *JournalSuperblock) { s.Incompat = JournalIncompatCsumV2 | JournalIncompatCsumV3 }, ErrCorrupt},
		{"checksum type", func(s *JournalSuperblock) { s.Incompat, s.ChecksumType = JournalIncompatCsumV3, 1 }, ErrCorrupt},
		{"length", func(s *JournalSuperblock) { s.MaxLen = 2001 }, ErrCorrupt},
		{"no ring", func(s *JournalSuperblock) { s.MaxLen = 1 }, ErrCorrupt},
		{"first 0", func(s *JournalSuperblock) { s.First = 0 }, ErrCorrupt},
		{"start before first", func(s *JournalSuperblock) { s.First, s.Start = 5, 4 }, ErrCorrupt},
		{"start at the end", func(s *JournalSuperblock) { s.Start = 2000 }, ErrCorrupt},
		{"start in the fast-commit area", func(s *JournalSuperblock) { s.Incompat, s.Start = JournalIncompatFastCommit, 1744 }, ErrCorrupt},
		{"start before it", func(s *JournalSuperblock) { s.Incompat, s.Start = JournalIncompatFastCommit, 1743 }, nil},
	} {
		s := good
		c.edit(&s)
		if err := s.Validate(1024, 2000); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

func TestJournalSuperblock_fastBlocks(t *testing.T) {
	for _, c := range []struct {
		incompat  JournalIncompat
		len, num  uint32
		fast, end uint32
	}{
		{0, 4160, 64, 0, 4160},
		{JournalIncompatFastCommit, 4160, 64, 64, 4096},
		{JournalIncompatFastCommit, 4160, 0, 256, 3904},
		{JournalIncompatFastCommit, 1088, 64, 64, 1024},
		{JournalIncompatFastCommit, 1087, 64, 0, 1087},
		{JournalIncompatFastCommit, 4160, 1 << 31, 0, 4160},
	} {
		s := JournalSuperblock{Incompat: c.incompat, MaxLen: c.len, NumFastBlocks: c.num}
		if s.FastBlocks() != c.fast || s.Last() != c.end {
			t.Errorf("%+v: %d, %d", c, s.FastBlocks(), s.Last())
		}
	}
}

func TestJournalFeatures_names(t *testing.T) {
	got := strings.Join(append(JournalCompat(3).Names(), JournalIncompat(0x7f).Names()...), " ")
	want := "journal_checksum FEATURE_C1 journal_incompat_revoke journal_64bit journal_async_commit " +
		"journal_checksum_v2 journal_checksum_v3 fast_commit FEATURE_I6"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if names := JournalROCompat(1).Names(); !slices.Equal(names, []string{"FEATURE_R0"}) {
		t.Error(names)
	}
}

func TestJournalFormat_tagSize(t *testing.T) {
	for i, want := range []int{8, 12, 10, 14, 16, 16} {
		if f := journalFormats()[i]; f.TagSize() != want {
			t.Errorf("%s: %d bytes, want %d", f.testName(), f.TagSize(), want)
		}
	}
	// As counted in logs that Linux wrote.
	f := JournalFormat{BlockSize: 4096, Incompat: JournalIncompatCsumV3}
	if f.MaxTags() != 253 {
		t.Errorf("4 KiB, V3: %d tags, want 253", f.MaxTags())
	}
}

func TestJournalFormat_descriptor(t *testing.T) {
	for _, f := range journalFormats() {
		t.Run(f.testName(), func(t *testing.T) {
			for _, count := range []int{1, 2, f.MaxTags() - 1, f.MaxTags(), f.MaxTags() + 1} {
				f.testDescriptor(t, count)
			}
		})
	}
}

func (f JournalFormat) testDescriptor(t *testing.T, count int) {
	tags := make([]JournalTag, count)
	for i := range tags {
		tags[i].Block = BlockNum(i) * 0x1_0000_0003
		if !f.Incompat.Has(JournalIncompat64bit) {
			tags[i].Block &= 0xffffffff
		}
		if f.HasTails() {
			tags[i].Checksum = uint32(i) * 77 & 0xffff
		}
		if i%5 == 0 {
			tags[i].Flags = JournalTagEscape
		}
	}
	b := bytes.Repeat([]byte{0xee}, f.BlockSize)
	n := f.EncodeDescriptor(b, 9, tags)
	if n != min(count, f.MaxTags()) {
		t.Fatalf("%d of %d tags encoded", n, count)
	}
	if h, ok := DecodeJournalHeader(b); !ok || h != (JournalHeader{JournalDescriptor, 9}) {
		t.Errorf("header %+v, %v", h, ok)
	}
	got := slices.Collect(f.Tags(b))
	if len(got) != n || f.CountTags(b) != uint32(n) {
		t.Fatalf("%d tags read back of %d", len(got), n)
	}
	for i, g := range got {
		want := tags[i]
		if i > 0 {
			want.Flags |= JournalTagSameUUID
		}
		if i == n-1 {
			want.Flags |= JournalTagLast
		}
		if g != want {
			t.Errorf("tag %d: %+v, want %+v", i, g, want)
		}
	}
	stored, computed := f.VerifyTail(b)
	if stored != computed || f.HasTails() == (stored == 0) {
		t.Errorf("tail 0x%x, want 0x%x", stored, computed)
	}
	b[20] ^= 1
	if stored, computed := f.VerifyTail(b); f.HasTails() && stored == computed {
		t.Error("a changed block passes its checksum")
	}
}

// Without LAST_TAG the tags end where no further one fits.
func TestJournalFormat_tagsWithoutEnd(t *testing.T) {
	for _, f := range journalFormats() {
		b := make([]byte, f.BlockSize)
		size, end := f.TagSize()+16, f.BlockSize
		if f.HasTails() {
			end -= 4
		}
		// All flags are zero: every tag is followed by a UUID.
		want := uint32((end-12-f.TagSize())/size + 1)
		if n := f.CountTags(b); n != want {
			t.Errorf("%s: %d tags, want %d", f.testName(), n, want)
		}
	}
}

func TestJournalFormat_revoke(t *testing.T) {
	for _, f := range journalFormats() {
		for _, count := range []int{0, 1, f.MaxRevokes(), f.MaxRevokes() + 1} {
			blocks := make([]BlockNum, count)
			for i := range blocks {
				blocks[i] = BlockNum(i) * 0x1_0000_0003
				if f.revokeSize() == 4 {
					blocks[i] &= 0xffffffff
				}
			}
			b := bytes.Repeat([]byte{0xee}, f.BlockSize)
			n := f.EncodeRevoke(b, 3, blocks)
			seq, err := f.Revokes(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Collect(seq); n != min(count, f.MaxRevokes()) || !slices.Equal(got, blocks[:n]) {
				t.Errorf("%s: %d of %d blocks, %d read back", f.testName(), n, count, len(got))
			}
			if stored, computed := f.VerifyTail(b); stored != computed {
				t.Errorf("%s: tail 0x%x, want 0x%x", f.testName(), stored, computed)
			}
			be.PutUint32(b[12:], uint32(f.payload()+1))
			if _, err := f.Revokes(b); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: error %v", f.testName(), err)
			}
			be.PutUint32(b[12:], 3) // less than the header: nothing
			if seq, err := f.Revokes(b); err != nil || len(slices.Collect(seq)) != 0 {
				t.Errorf("%s: %v", f.testName(), err)
			}
		}
	}
}

func TestJournalFormat_commit(t *testing.T) {
	for _, f := range journalFormats() {
		b := bytes.Repeat([]byte{0xee}, f.BlockSize)
		c := JournalCommitBlock{Sequence: 5, ChecksumType: 1, ChecksumSize: 4, Seconds: 1 << 40, Nanoseconds: 999}
		f.EncodeCommit(b, c)
		got := DecodeJournalCommit(b)
		if f.HasTails() == (got.Checksum[0] == 0) {
			t.Errorf("%s: checksum 0x%x", f.testName(), got.Checksum[0])
		}
		got.Checksum[0] = 0
		if got != c {
			t.Errorf("%s: %+v, want %+v", f.testName(), got, c)
		}
		ok := func() bool { s, c := f.VerifyCommit(b); return s == c }
		if !ok() {
			t.Errorf("%s: a fresh commit block fails its checksum", f.testName())
		}
		b[700] = 1 // only the first sector came to the disk
		if !ok() {
			t.Errorf("%s: a torn commit block is refused", f.testName())
		}
		b[0x37] ^= 1
		if f.HasTails() && ok() {
			t.Errorf("%s: a changed commit block passes", f.testName())
		}
	}
}

func TestJournalFormat_tagChecksum(t *testing.T) {
	data := randomBytes(1, 1024)
	for _, f := range journalFormats()[:6] {
		sum := f.TagChecksum(7, data)
		switch {
		case !f.HasTails() && sum != 0, f.Incompat.Has(JournalIncompatCsumV2) && sum > 0xffff:
			t.Errorf("%s: 0x%x", f.testName(), sum)
		case f.HasTails() && sum == f.TagChecksum(8, data):
			t.Errorf("%s: the sequence does not count", f.testName())
		}
	}
}

func TestSequenceBefore(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{{1, 2, true}, {2, 1, false}, {5, 5, false}, {^uint32(0), 0, true}, {0, ^uint32(0), false}} {
		if SequenceBefore(c.a, c.b) != c.want {
			t.Errorf("%d before %d: not %v", c.a, c.b, c.want)
		}
	}
}

func TestEscape(t *testing.T) {
	b := []byte{0xc0, 0x3b, 0x39, 0x98, 5}
	if !NeedsEscape(b) || NeedsEscape(b[1:]) || NeedsEscape(b[:3]) {
		t.Error("NeedsEscape")
	}
	c := bytes.Clone(b)
	Escape(c)
	if NeedsEscape(c) || c[4] != 5 {
		t.Error("Escape")
	}
	if Unescape(c); !bytes.Equal(b, c) {
		t.Error("Unescape")
	}
}

// FuzzJournalBlock reads any bytes as every record.
func FuzzJournalBlock(f *testing.F) {
	for _, format := range journalFormats()[:6] {
		b := make([]byte, 1024)
		format.EncodeDescriptor(b, 3, make([]JournalTag, 20))
		f.Add(b, uint32(format.Incompat))
		format.EncodeRevoke(b, 3, make([]BlockNum, 20))
		f.Add(bytes.Clone(b), uint32(format.Incompat))
	}
	f.Fuzz(func(t *testing.T, in []byte, incompat uint32) {
		b := make([]byte, 1024)
		copy(b, in)
		format := JournalFormat{BlockSize: 1024, Incompat: JournalIncompat(incompat)}
		if n := format.CountTags(b); n == 0 || n > 127 {
			t.Errorf("%d tags", n)
		}
		if seq, err := format.Revokes(b); err == nil && len(slices.Collect(seq)) > 252 {
			t.Error("too many revokes")
		}
		format.VerifyTail(b)
		format.VerifyCommit(b)
		DecodeJournalCommit(b)
		var s JournalSuperblock
		if s.Decode(b) == nil {
			out := make([]byte, 1024)
			s.Encode(out)
			if !bytes.Equal(b, out) {
				t.Error("superblock differs")
			}
			_ = s.Validate(1024, 5000)
		}
	})
}
