package dump

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// ErrNoJournal: the file system has no journal.
var ErrNoJournal = errors.New("there is no journal")

// JournalSuper is the superblock of the journal: all its fields.
type JournalSuper struct {
	Type           string   `json:"type"`
	LogBlock       uint32   `json:"log_block" text:"Log block"`
	Version        Code     `json:"version" text:"Block type"`
	HeaderSequence uint32   `json:"header_sequence" text:"Header sequence"`
	BlockSize      uint32   `json:"block_size" text:"Block size"`
	MaxLen         uint32   `json:"maxlen" text:"Blocks"`
	First          uint32   `json:"first" text:"Ring from block"`
	Last           uint32   `json:"last" text:"Ring to block"`
	Sequence       uint32   `json:"sequence" text:"First transaction"`
	Start          uint32   `json:"start" text:"Log starts at block"`
	Head           uint32   `json:"head" text:"Log head at unmount"`
	Errno          int32    `json:"errno" text:"Error number"`
	Compat         Flags    `json:"feature_compat" text:"Compatible features"`
	Incompat       Flags    `json:"feature_incompat" text:"Incompatible features"`
	ROCompat       Flags    `json:"feature_ro_compat" text:"Read-only features"`
	UUID           string   `json:"uuid" text:"UUID"`
	NrUsers        uint32   `json:"nr_users" text:"Users"`
	Users          []string `json:"users,omitempty" text:"User,omitempty"`
	DynSuper       uint32   `json:"dynsuper" text:"Dynamic superblock"`
	MaxTransaction uint32   `json:"max_transaction" text:"Largest transaction"`
	MaxTransData   uint32   `json:"max_trans_data" text:"Most data blocks"`
	ChecksumType   Code     `json:"checksum_type" text:"Checksum type"`
	NumFastBlocks  uint32   `json:"num_fc_blocks" text:"Fast-commit blocks"`
	FastCommits    *Range   `json:"fast_commit_area,omitempty" text:"Fast-commit area"`
	NeedsRecovery  bool     `json:"needs_recovery" text:"File system needs recovery"`
	Checksum       Checksum `json:"checksum" text:"Checksum"`
	Problems       []string `json:"problems,omitempty"`
}

// JournalRecord is one descriptor with its data, another block of the log, or
// a run of blocks that start with no header.
type JournalRecord struct {
	Type     string         `json:"type"` // journal_descriptor, journal_commit, journal_revoke, journal_other
	LogBlock uint32         `json:"log_block"`
	Count    uint32         `json:"count"` // log blocks
	Sequence uint32         `json:"sequence"`
	State    string         `json:"state"` // live, open or old
	Checksum Checksum       `json:"checksum"`
	Tags     []JournalTag   `json:"tags,omitempty"`
	Revokes  []uint64       `json:"revokes,omitempty"`
	Commit   *JournalCommit `json:"commit,omitempty"`
	Problem  string         `json:"problem,omitempty"`
}

// JournalTag says where one log block belongs.
type JournalTag struct {
	Home        uint64   `json:"home"`
	LogBlock    uint32   `json:"log_block"`
	Flags       Flags    `json:"flags"`
	Overwritten bool     `json:"overwritten,omitempty"`
	Checksum    Checksum `json:"checksum"`
}

// JournalCommit is what a commit block says.
type JournalCommit struct {
	Time         string `json:"time"`
	Seconds      uint64 `json:"seconds"`
	Nanoseconds  uint32 `json:"nanoseconds"`
	ChecksumType Code   `json:"checksum_type"`
	ChecksumSize uint32 `json:"checksum_size"`
}

// journalLog opens the journal: that of the file system, or the image itself
// when it is an external journal.
func (im *Image) journalLog() (journal.Log, error) {
	if im.fs != nil {
		log, err := im.fs.Journal()
		if err == nil && log == nil {
			err = ErrNoJournal
		}
		return log, err
	}
	if !im.super.Features.Incompat.Has(disk.IncompatJournalDev) || im.super.LogBlockSize > 6 {
		return nil, im.geometry()
	}
	bs := im.blockSize()
	blocks := min(uint64(im.dev.Size())/uint64(bs), im.super.Blocks(), math.MaxUint32)
	return &deviceLog{im.dev, bs, uint32(blocks)}, nil
}

// deviceLog is a device that is a journal.
type deviceLog struct {
	dev       device.Device
	blockSize int
	blocks    uint32
}

func (l *deviceLog) Blocks() uint32 { return l.blocks }

func (l *deviceLog) Super() uint32 { return uint32(disk.SuperblockOffset/l.blockSize) + 1 }

func (l *deviceLog) ReadBlocks(n uint32, p []byte) error {
	return device.ReadFull(l.dev, p, int64(n)*int64(l.blockSize))
}

// Journal yields the superblock of the journal, then every record of its ring,
// from where the log starts once around, then the records of the fast-commit
// area. The only errors are those that leave nothing to show.
func (im *Image) Journal() iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		log, err := im.journalLog()
		if err != nil {
			yield(nil, err)
			return
		}
		v, err := im.journalSuper(log)
		if err != nil {
			yield(nil, err)
			return
		}
		if !yield(v, nil) || v.fatal() {
			return
		}
		for rec, err := range journal.Walk(log, im.blockSize()) {
			if !yield(newJournalRecord(&rec, err), nil) {
				return
			}
		}
		for rec, err := range journal.WalkFastCommits(log, im.blockSize()) {
			if !yield(newFastRecord(&rec, err), nil) {
				return
			}
		}
	}
}

// JournalSuper returns the superblock of the journal.
func (im *Image) JournalSuper() (*JournalSuper, error) {
	log, err := im.journalLog()
	if err != nil {
		return nil, err
	}
	return im.journalSuper(log)
}

func (im *Image) journalSuper(log journal.Log) (*JournalSuper, error) {
	b := make([]byte, im.blockSize())
	if err := log.ReadBlocks(log.Super(), b); err != nil {
		return nil, err
	}
	v := &JournalSuper{Type: "journal_superblock", LogBlock: log.Super(), Checksum: Checksum{State: ChecksumNone},
		NeedsRecovery: im.super.Features.Incompat.Has(disk.IncompatRecover)}
	var s disk.JournalSuperblock
	if err := s.Decode(b); err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v, nil
	}
	v.fill(&s)
	if s.HasChecksum() {
		stored, computed := disk.VerifyJournalSuperblock(b)
		v.Checksum = newChecksum(true, stored, computed)
	}
	if err := s.Validate(im.blockSize(), log.Blocks()); err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v, nil
	}
	v.Last = s.Last() - 1
	if n := s.FastBlocks(); n > 1 {
		r := Range{uint64(s.Last()) + 1, uint64(s.MaxLen) - 1}
		v.FastCommits = &r
	}
	return v, nil
}

func (v *JournalSuper) fill(s *disk.JournalSuperblock) {
	v.Version = Code{uint32(s.Type), s.Type.String()}
	v.HeaderSequence, v.BlockSize, v.MaxLen = s.HeaderSequence, s.BlockSize, s.MaxLen
	v.First, v.Sequence, v.Start, v.Head, v.Errno = s.First, s.Sequence, s.Start, s.Head, s.Errno
	v.Compat = namedFlags(uint32(s.Compat), s.Compat.Names())
	v.Incompat = namedFlags(uint32(s.Incompat), s.Incompat.Names())
	v.ROCompat = namedFlags(uint32(s.ROCompat), s.ROCompat.Names())
	v.UUID = disk.UUIDString(s.UUID)
	v.NrUsers, v.DynSuper, v.MaxTransaction, v.MaxTransData = s.NrUsers, s.DynSuper, s.MaxTransaction, s.MaxTransData
	v.ChecksumType = newCode(uint32(s.ChecksumType), "none", "crc32", "md5", "sha1", "crc32c")
	v.NumFastBlocks = s.NumFastBlocks
	for i := range s.Users {
		if uint32(i) < s.NrUsers || s.Users[i] != [16]byte{} {
			v.Users = append(v.Users, disk.UUIDString(s.Users[i]))
		}
	}
}

// fatal reports whether nothing of the log can be shown.
func (v *JournalSuper) fatal() bool { return v.Last == 0 }

func newJournalRecord(r *journal.Record, err error) *JournalRecord {
	v := &JournalRecord{Type: "journal_other", LogBlock: r.Block, Count: r.Count, Sequence: r.Sequence,
		State: r.State.String(), Checksum: newChecksum(r.HasChecksum, r.Stored, r.Computed)}
	if err != nil {
		v.Problem = problem(err)
	}
	switch r.Type {
	case disk.JournalDescriptor:
		v.Type = "journal_descriptor"
	case disk.JournalRevoke:
		v.Type = "journal_revoke"
	case disk.JournalCommit:
		v.Type = "journal_commit"
	}
	for i := range r.Tags {
		t := &r.Tags[i]
		v.Tags = append(v.Tags, JournalTag{Home: uint64(t.Home), LogBlock: t.LogBlock,
			Flags:       newFlags(uint32(t.Flags), "escape", "same_uuid", "deleted", "last"),
			Overwritten: t.Overwritten, Checksum: newChecksum(t.HasChecksum, t.Stored, t.Computed)})
	}
	for _, n := range r.Revokes {
		v.Revokes = append(v.Revokes, uint64(n))
	}
	if c := r.Commit; c != nil {
		v.Commit = &JournalCommit{Seconds: c.Seconds, Nanoseconds: c.Nanoseconds,
			ChecksumType: newCode(uint32(c.ChecksumType), "none", "crc32"), ChecksumSize: uint32(c.ChecksumSize)}
		if c.Seconds <= lastTime {
			v.Commit.Time = c.Time().Format("2006-01-02T15:04:05.000000000Z07:00")
		}
	}
	return v
}

// WriteText writes all fields, one a line.
func (v *JournalSuper) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.linef("Journal superblock")
		p.block(func() {
			p.fields(v)
			p.problems(v.Problems)
		})
	})
}

// WriteText writes the record in one line, and its tags or blocks below.
func (v *JournalRecord) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		where := fmt.Sprintf("%d", v.LogBlock)
		if v.Count > 1 {
			where += fmt.Sprintf("+%d", v.Count)
		}
		switch v.Type {
		case "journal_descriptor":
			p.linef("%-12s descriptor  transaction %d, %s, %d tags, checksum %s", where, v.Sequence, v.State, len(v.Tags), v.Checksum)
		case "journal_revoke":
			p.linef("%-12s revoke      transaction %d, %s, %d blocks, checksum %s", where, v.Sequence, v.State, len(v.Revokes), v.Checksum)
		case "journal_commit":
			p.linef("%-12s commit      transaction %d, %s%s, checksum %s", where, v.Sequence, v.State, v.commitText(), v.Checksum)
		default:
			p.linef("%-12s no header", where)
		}
		p.block(func() {
			v.printTags(p)
			for i := 0; i < len(v.Revokes); i += 8 {
				p.linef("revoked %s", joinBlocks(v.Revokes[i:min(i+8, len(v.Revokes))]))
			}
			if v.Problem != "" {
				p.linef("! %s", escape(v.Problem))
			}
		})
	})
}

func (v *JournalRecord) commitText() string {
	if v.Commit == nil {
		return ""
	}
	s := ", " + v.Commit.Time
	if v.Commit.ChecksumType.Raw != 0 || v.Commit.ChecksumSize != 0 {
		s += fmt.Sprintf(", checksum type %s of %d bytes", v.Commit.ChecksumType, v.Commit.ChecksumSize)
	}
	return s
}

func (v *JournalRecord) printTags(p *printer) {
	if len(v.Tags) == 0 {
		return
	}
	rows := [][]string{{"log block", "home", "checksum", "flags"}}
	for _, t := range v.Tags {
		sum := t.Checksum.String()
		if t.Overwritten {
			sum = "overwritten"
		}
		rows = append(rows, []string{utoa(t.LogBlock), utoa(t.Home), sum, strings.Join(t.Flags.Names, ",")})
	}
	p.table("rr", rows)
}

func joinBlocks(list []uint64) string {
	var b []byte
	for i, n := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = fmt.Append(b, n)
	}
	return string(b)
}
