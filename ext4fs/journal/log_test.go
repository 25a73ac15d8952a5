package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestNewInternal(t *testing.T) {
	d := base{1024, 200}
	// Runs out of physical order, one that continues the one before, one after
	// a hole.
	l, err := NewInternal(d, 1024, []Run{{0, 50, 5}, {5, 20, 3}, {8, 23, 2}, {10, 9, 0}, {10, 100, 4}, {15, 30, 9}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Blocks() != 14 || l.Super() != 0 || len(l.(*mappedLog).runs) != 3 {
		t.Errorf("%+v", l)
	}
	where := []byte{50, 51, 52, 53, 54, 20, 21, 22, 23, 24, 100, 101, 102, 103}
	for from := range where {
		for to := from; to <= len(where); to++ {
			p := make([]byte, (to-from)*1024)
			if err := l.ReadBlocks(uint32(from), p); err != nil {
				t.Fatal(err)
			}
			for i, w := range where[from:to] {
				if !bytes.Equal(p[i*1024:][:1024], bytes.Repeat([]byte{w}, 1024)) {
					t.Errorf("read from %d to %d: block %d is wrong", from, to, from+i)
				}
			}
		}
	}
	for _, n := range []uint32{14, 13, 1 << 31, ^uint32(0)} {
		if err := l.ReadBlocks(n, make([]byte, 2048)); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("block %d: %v", n, err)
		}
	}
	if err := l.ReadBlocks(0, make([]byte, 1000)); err == nil {
		t.Error("part of a block was read")
	}
}

func TestNewInternal_errors(t *testing.T) {
	d := base{1024, 200}
	for _, c := range []struct {
		name string
		bs   int
		runs []Run
		want error
	}{
		{"block size 0", 0, nil, disk.ErrUnsupported},
		{"block size 1000", 1000, nil, disk.ErrUnsupported},
		{"block size 128 KiB", 131072, nil, disk.ErrUnsupported},
		{"nothing", 1024, nil, disk.ErrCorrupt},
		{"hole first", 1024, []Run{{1, 5, 5}}, disk.ErrCorrupt},
		{"outside", 1024, []Run{{0, 200, 1}}, disk.ErrCorrupt},
		{"too long", 1024, []Run{{0, 199, 2}}, disk.ErrCorrupt},
		{"far outside", 1024, []Run{{0, ^disk.BlockNum(0), 2}}, disk.ErrCorrupt},
		{"overlap", 1024, []Run{{0, 5, 5}, {4, 20, 5}}, disk.ErrCorrupt},
	} {
		if _, err := NewInternal(d, c.bs, c.runs); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// short is a device that ends before its size.
type short struct{ base }

func (s short) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 60*1024 {
		return 0, io.EOF
	}
	return s.base.ReadAt(p, off)
}

func TestLog_shortDevice(t *testing.T) {
	l, err := NewInternal(short{base{1024, 200}}, 1024, []Run{{0, 50, 50}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ReadBlocks(9, make([]byte, 1024)); err != nil {
		t.Error(err)
	}
	var be *BlockError
	if err := l.ReadBlocks(10, make([]byte, 1024)); !errors.As(err, &be) || be.LogBlock != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

// external makes a journal device of n blocks.
func external(t *testing.T, bs, n int) ([]byte, ExternalOptions) {
	t.Helper()
	o := ExternalOptions{BlockSize: bs, JournalUUID: [16]byte{1, 2, 3}, FSUUID: [16]byte{4, 5}}
	b := make([]byte, bs*n)
	sb := b[disk.SuperblockOffset:][:disk.SuperblockSize]
	sb[0x38], sb[0x39] = 0x53, 0xef
	var s disk.Superblock
	if err := s.Decode(sb); err != nil {
		t.Fatal(err)
	}
	for s.BlockSize() < bs {
		s.LogBlockSize++
	}
	s.RevLevel, s.BlocksCount, s.UUID = 1, uint64(n), o.JournalUUID
	s.Features.Incompat, s.Features.ROCompat = disk.IncompatJournalDev, disk.ROCompatMetadataCsum
	s.Encode(sb)
	disk.SealSuperblock(sb)
	at := 1
	if bs == 1024 {
		at = 2
	}
	j := disk.JournalSuperblock{Type: disk.JournalSuperblockV2, BlockSize: uint32(bs), MaxLen: uint32(n),
		First: uint32(at + 1), UUID: o.JournalUUID, NrUsers: 1}
	j.Users[0] = o.FSUUID
	j.Encode(b[at*bs:])
	return b, o
}

func TestOpenExternal(t *testing.T) {
	for _, bs := range []int{1024, 2048, 4096, 65536} {
		b, o := external(t, bs, 50)
		l, err := OpenExternal(device.NewMemory(b), o)
		if err != nil {
			t.Fatal(err)
		}
		want := uint32(1)
		if bs == 1024 {
			want = 2
		}
		if l.Blocks() != 50 || l.Super() != want {
			t.Errorf("block size %d: %d blocks, superblock at %d", bs, l.Blocks(), l.Super())
		}
		r, err := Load(t.Context(), l, Options{BlockSize: bs, NeedsRecovery: true})
		if err != nil || r.Needed {
			t.Errorf("block size %d: %v, %v", bs, r, err)
		}
	}
}

func TestOpenExternal_errors(t *testing.T) {
	sb := func(edit func(s *disk.Superblock)) func(b []byte, o *ExternalOptions) {
		return func(b []byte, o *ExternalOptions) {
			var s disk.Superblock
			if err := s.Decode(b[1024:2048]); err != nil {
				panic(err)
			}
			edit(&s)
			s.Encode(b[1024:2048])
			disk.SealSuperblock(b[1024:2048])
		}
	}
	jsb := func(edit func(s *disk.JournalSuperblock)) func(b []byte, o *ExternalOptions) {
		return func(b []byte, o *ExternalOptions) {
			var s disk.JournalSuperblock
			if err := s.Decode(b[4096:]); err != nil {
				panic(err)
			}
			edit(&s)
			s.Encode(b[4096:])
		}
	}
	for i, c := range []struct {
		edit func(b []byte, o *ExternalOptions)
		want error
	}{
		{func(b []byte, o *ExternalOptions) { o.BlockSize = 7 }, disk.ErrUnsupported},
		{func(b []byte, o *ExternalOptions) { o.BlockSize = 1024 }, disk.ErrCorrupt},
		{func(b []byte, o *ExternalOptions) { clear(b[1024:2048]) }, disk.ErrCorrupt},
		{func(b []byte, o *ExternalOptions) { b[2000] ^= 1 }, disk.ErrChecksum},
		{func(b []byte, o *ExternalOptions) { o.JournalUUID[9] = 1 }, ErrWrongJournal},
		{func(b []byte, o *ExternalOptions) { o.FSUUID[9] = 1 }, ErrWrongJournal},
		{func(b []byte, o *ExternalOptions) { b[4096] = 0 }, disk.ErrCorrupt},
		{sb(func(s *disk.Superblock) { s.Features.Incompat = 0 }), disk.ErrCorrupt},
		{sb(func(s *disk.Superblock) { s.LogBlockSize = ^uint32(0) }), disk.ErrCorrupt},
		{sb(func(s *disk.Superblock) { s.BlocksCount = 1 }), disk.ErrCorrupt},
		{jsb(func(s *disk.JournalSuperblock) { s.NrUsers = 0 }), nil},
		{jsb(func(s *disk.JournalSuperblock) { s.NrUsers = 1 << 30 }), disk.ErrUnsupported},
		{jsb(func(s *disk.JournalSuperblock) { s.Type = disk.JournalSuperblockV1 }), disk.ErrCorrupt},
	} {
		b, o := external(t, 4096, 50)
		c.edit(b, &o)
		if _, err := OpenExternal(device.NewMemory(b), o); !errors.Is(err, c.want) {
			t.Errorf("case %d: %v, want %v", i, err, c.want)
		}
	}
	for _, n := range []int{0, 1500, 4096, 6000} {
		b, o := external(t, 4096, 50)
		if _, err := OpenExternal(device.NewMemory(b[:n]), o); err == nil {
			t.Errorf("device of %d bytes: no error", n)
		}
	}
}

func TestErrors_say(t *testing.T) {
	err := fmt.Errorf("replay journal: %w", &TransactionError{7, 99, &disk.ChecksumError{What: "journal commit block", Stored: 1, Computed: 2}})
	want := "replay journal: journal transaction 7, log block 99: checksum of journal commit block is wrong: stored 0x00000001, computed 0x00000002"
	if err.Error() != want {
		t.Error(err)
	}
}
