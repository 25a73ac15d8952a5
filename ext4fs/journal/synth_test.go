package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// memLog is a log in memory.
type memLog struct {
	bs    int
	b     []byte
	super uint32
	bad   map[uint32]bool // blocks that cannot be read
}

func (l *memLog) Blocks() uint32 { return uint32(len(l.b) / l.bs) }
func (l *memLog) Super() uint32  { return l.super }
func (l *memLog) ReadBlocks(n uint32, p []byte) error {
	for i := range uint32(len(p) / l.bs) {
		if l.bad[n+i] {
			return &BlockError{n + i, io.ErrUnexpectedEOF}
		}
	}
	if uint64(n)*uint64(l.bs)+uint64(len(p)) > uint64(len(l.b)) {
		return &BlockError{n, io.ErrUnexpectedEOF}
	}
	copy(p, l.b[int(n)*l.bs:])
	return nil
}

func (l *memLog) block(n uint32) []byte { return l.b[int(n)*l.bs:][:l.bs] }

// synth writes a log as the kernel would.
type synth struct {
	t    testing.TB
	log  *memLog
	sb   disk.JournalSuperblock
	f    disk.JournalFormat
	next uint32 // log block to write
	id   uint32
	time uint64
}

// kind is one set of journal features.
type kind struct {
	name     string
	compat   disk.JournalCompat
	incompat disk.JournalIncompat
}

var kinds = []kind{
	{"none", 0, 0},
	{"64bit", 0, disk.JournalIncompat64bit},
	{"v1", disk.JournalCompatChecksum, disk.JournalIncompat64bit},
	{"v2", 0, disk.JournalIncompatCsumV2},
	{"v2_64bit", 0, disk.JournalIncompatCsumV2 | disk.JournalIncompat64bit | disk.JournalIncompatRevoke},
	{"v3", 0, disk.JournalIncompatCsumV3},
	{"v3_64bit", 0, disk.JournalIncompatCsumV3 | disk.JournalIncompat64bit},
}

// newSynth is an empty log of n blocks that will start at block start with
// transaction id.
func newSynth(t testing.TB, k kind, bs int, n, start, id uint32) *synth {
	t.Helper()
	s := &synth{t: t, log: &memLog{bs: bs, b: make([]byte, int(n)*bs)}, next: start, id: id, time: 1000}
	s.sb = disk.JournalSuperblock{
		Type: disk.JournalSuperblockV2, BlockSize: uint32(bs), MaxLen: n, First: 1, Sequence: id, Start: start,
		Compat: k.compat, Incompat: k.incompat, UUID: [16]byte{1, 2, 3}, NrUsers: 1,
	}
	if s.sb.HasChecksum() {
		s.sb.ChecksumType = disk.JournalChecksumCRC32C
	}
	s.super()
	return s
}

// super writes the journal superblock.
func (s *synth) super() {
	s.f = s.sb.Format()
	b := s.log.block(0)
	s.sb.Encode(b)
	if s.sb.HasChecksum() {
		disk.SealJournalSuperblock(b)
	}
}

// take is the next block of the ring.
func (s *synth) take() (uint32, []byte) {
	n := s.next
	if s.next++; s.next >= s.sb.Last() {
		s.next = s.sb.First
	}
	return n, s.log.block(n)
}

// write is one block to log.
type write struct {
	home disk.BlockNum
	data []byte
}

// commit writes a transaction: its revokes, its blocks, its commit block. It
// returns the log blocks of its records.
func (s *synth) commit(writes []write, revokes []disk.BlockNum) (p places) {
	for len(revokes) > 0 {
		n, b := s.take()
		p.revoke = append(p.revoke, n)
		revokes = revokes[s.f.EncodeRevoke(b, s.id, revokes):]
	}
	sum := uint32(disk.JournalTransactionSeed)
	for len(writes) > 0 {
		n, desc := s.take()
		p.descriptor = append(p.descriptor, n)
		tags := make([]disk.JournalTag, 0, len(writes))
		group := writes[:min(len(writes), s.f.MaxTags())]
		first := len(p.data)
		for _, w := range group {
			n, b := s.take()
			p.data = append(p.data, n)
			copy(b, w.data)
			tag := disk.JournalTag{Block: w.home}
			if disk.NeedsEscape(b) {
				disk.Escape(b)
				tag.Flags = disk.JournalTagEscape
			}
			tag.Checksum = s.f.TagChecksum(s.id, b)
			tags = append(tags, tag)
		}
		if n := s.f.EncodeDescriptor(desc, s.id, tags); n != len(group) {
			s.t.Fatalf("descriptor took %d tags of %d", n, len(group))
		}
		sum = disk.CRC32BE(sum, desc)
		for _, n := range p.data[first:] {
			sum = disk.CRC32BE(sum, s.log.block(n))
		}
		writes = writes[len(group):]
	}
	n, b := s.take()
	p.commit = n
	c := disk.JournalCommitBlock{Sequence: s.id, Seconds: s.time, Nanoseconds: 5}
	if s.f.HasTransactionChecksum() {
		c.ChecksumType, c.ChecksumSize = disk.JournalChecksumCRC32, disk.JournalChecksumCRC32Size
		c.Checksum[0] = sum
	}
	s.f.EncodeCommit(b, c)
	s.id++
	s.time++
	return p
}

// places tells where a transaction lies.
type places struct {
	revoke, descriptor, data []uint32
	commit                   uint32
}

func (s *synth) load(o Options) (*Recovery, error) {
	o.BlockSize, o.NeedsRecovery = s.log.bs, true
	return Load(context.Background(), s.log, o)
}

func (s *synth) mustLoad(o Options) *Recovery {
	s.t.Helper()
	r, err := s.load(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// fill makes a block that starts like a log block when n is a multiple of 3.
func fill(bs int, n uint32) []byte {
	b := make([]byte, bs)
	for i := 0; i < bs; i += 4 {
		binary.BigEndian.PutUint32(b[i:], n*2654435761+uint32(i))
	}
	if n%3 == 0 {
		binary.BigEndian.PutUint32(b, disk.JournalMagic)
	}
	return b
}

// base is a device of n blocks, each filled with its number.
type base struct {
	bs, n int
}

func (d base) Size() int64 { return int64(d.bs) * int64(d.n) }

func (d base) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrNoProgress
	}
	for i := range p {
		if off+int64(i) >= d.Size() {
			return i, io.EOF
		}
		p[i] = byte((off + int64(i)) / int64(d.bs))
	}
	return len(p), nil
}

func name(format string, args ...any) string { return fmt.Sprintf(format, args...) }
