package journal

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// sparseLog is a log of blocks blocks, zeros after b.
type sparseLog struct {
	b      []byte
	blocks uint32
}

func (l *sparseLog) Blocks() uint32 { return l.blocks }
func (l *sparseLog) Super() uint32  { return 0 }
func (l *sparseLog) ReadBlocks(n uint32, p []byte) error {
	if uint64(n)+uint64(len(p)/1024) > uint64(l.blocks) {
		return &BlockError{n, io.ErrUnexpectedEOF}
	}
	clear(p)
	if off := int(n) * 1024; off < len(l.b) {
		copy(p, l.b[off:])
	}
	return nil
}

// seal makes the checksums of b fit, but for those of data blocks, so that
// what is behind them is reached.
func (l *sparseLog) seal() {
	var sb disk.JournalSuperblock
	if len(l.b) < 1024 || sb.Decode(l.b) != nil {
		return
	}
	if sb.HasChecksum() {
		disk.SealJournalSuperblock(l.b)
	}
	sb.BlockSize = 1024
	f := sb.Format()
	for b := l.b[1024:]; len(b) >= 1024; b = b[1024:] {
		h, ok := disk.DecodeJournalHeader(b)
		switch {
		case ok && h.Type == disk.JournalCommit:
			f.SealCommit(b[:1024])
		case ok:
			f.SealTail(b[:1024])
		}
	}
}

// realLogs are the beginnings of logs that Linux wrote, see TestRealLogs.
func realLogs(t testing.TB) map[string][]byte {
	t.Helper()
	logs := map[string][]byte{}
	names, err := filepath.Glob("testdata/*.log.gz")
	if err != nil || len(names) == 0 {
		t.Fatal("no logs in testdata", err)
	}
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if logs[filepath.Base(n)], err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return logs
}

// FuzzReplay loads and walks any bytes as a log.
func FuzzReplay(f *testing.F) {
	for _, b := range realLogs(f) {
		f.Add(b, false)
	}
	for _, k := range kinds {
		s := newSynth(f, k, 1024, 40, 30, 5)
		s.commit([]write{{1, fill(1024, 1)}, {2, fill(1024, 3)}}, []disk.BlockNum{7})
		s.commit([]write{{2, fill(1024, 2)}, {7, fill(1024, 3)}}, []disk.BlockNum{1})
		f.Add(s.log.b, true)
	}
	s := fastSynth(f)
	f.Add(s.log.b[:16<<10], true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		l := &sparseLog{bytes.Clone(b), 2048}
		if seal {
			l.seal()
		}
		for _, ignore := range []bool{false, true} {
			r, err := Load(t.Context(), l, Options{BlockSize: 1024, FSBlocks: 1 << 20, NeedsRecovery: true, IgnoreChecksums: ignore})
			if err != nil {
				continue
			}
			if r.Blocks() > 2048 || len(r.Transactions) > 2048 || r.RevokeHits > 2048 || len(r.FastCommits) > len(b) {
				t.Errorf("too much for the log: %v, %d fast records", r, len(r.FastCommits))
			}
			readSome(t, r)
		}
		walkSome(t, l)
	})
}

// readSome reads at each replayed block and across its borders.
func readSome(t *testing.T, r *Recovery) {
	d := zeros(1 << 30)
	o := r.Overlay(d)
	p := make([]byte, 3000)
	for i, e := range r.entries {
		if i == 20 {
			break
		}
		for _, off := range []int64{0, -1000, 1000} {
			off += int64(e.home) * 1024
			if n, err := o.ReadAt(p, max(0, off)); err != nil && err != io.EOF {
				t.Errorf("read at %d: %d, %v", off, n, err)
			}
		}
	}
}

// zeros is a device of so many zero bytes.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), int64(z)-off))
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func walkSome(t *testing.T, l Log) {
	sb, _, err := ReadSuperblock(l, 1024)
	if err != nil || sb.Validate(1024, l.Blocks()) != nil {
		return
	}
	blocks := uint32(0)
	for r := range Walk(l, 1024) {
		if r.Count == 0 || len(r.Tags) > 1024 || len(r.Revokes) > 1024 {
			t.Fatalf("record %+v", r)
		}
		blocks += r.Count
	}
	if want := sb.Last() - sb.First; blocks != want {
		t.Errorf("walked %d blocks of %d", blocks, want)
	}
	for r := range WalkFastCommits(l, 1024) {
		if r.Block <= sb.Last() || r.Block >= sb.MaxLen {
			t.Errorf("fast record in block %d", r.Block)
		}
	}
}

// areaLog is a log with other bytes from block at on.
type areaLog struct {
	Log
	at uint32
	b  []byte
}

func (l *areaLog) ReadBlocks(n uint32, p []byte) error {
	if err := l.Log.ReadBlocks(n, p); err != nil {
		return err
	}
	for i := range uint32(len(p) / 1024) {
		if off := int64(n+i-l.at) * 1024; n+i >= l.at && off < int64(len(l.b)) {
			copy(p[i*1024:(i+1)*1024], l.b[off:])
		}
	}
	return nil
}

// FuzzFastCommit loads any bytes as a fast-commit area.
func FuzzFastCommit(f *testing.F) {
	first, _ := fastCommit(f, &disk.FCHead{Transaction: 6}, 6, 60)
	second, _ := fastCommit(f, nil, 6, 3)
	f.Add(append(bytes.Clone(first), second...))
	if b, ok := realLogs(f)["fast_commit.log.gz"]; ok && len(b) > 1025*1024 {
		f.Add(b[1025*1024:])
	}
	s := fastSynth(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &areaLog{s.log, s.sb.Last() + 1, b}
		for _, ignore := range []bool{false, true} {
			r, err := Load(t.Context(), l, Options{BlockSize: 1024, NeedsRecovery: true, IgnoreChecksums: ignore})
			if err != nil {
				continue
			}
			if r.FastCommitCount > 63*64 || len(r.FastCommits) > 63*1024/12 {
				t.Errorf("%d records in %d fast commits", len(r.FastCommits), r.FastCommitCount)
			}
			for _, rec := range r.FastCommits {
				if d, ok := rec.(*disk.FCDirent); ok && (len(d.Name) == 0 || len(d.Name) > disk.MaxNameLen) {
					t.Errorf("name %q", d.Name)
				}
			}
		}
		for r := range WalkFastCommits(l, 1024) {
			if r.Block <= s.sb.Last() || r.Block >= s.sb.MaxLen {
				t.Errorf("fast record in block %d", r.Block)
			}
		}
	})
}
