package journal_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// unzip opens a .gz of the corpus.
func unzip(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// unpack writes a .gz of the corpus into a scratch folder, holes for zeros.
func unpack(t *testing.T, name string) string {
	t.Helper()
	z := unzip(t, name)
	to := filepath.Join(testimages.Scratch(t), strings.TrimSuffix(filepath.Base(name), ".gz"))
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	size := int64(0)
	for {
		n, err := io.ReadFull(z, b)
		if !bytes.Equal(b[:n], zero[:n]) {
			if _, err := out.WriteAt(b[:n], size); err != nil {
				t.Fatal(err)
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return to
}

// hasJournal looks at the superblock of a .gz.
func hasJournal(t *testing.T, name string) bool {
	t.Helper()
	b := make([]byte, 2048)
	if _, err := io.ReadFull(unzip(t, name), b); err != nil {
		return false
	}
	sb := new(disk.Superblock)
	return sb.Decode(b[1024:]) == nil && sb.Features.Compat.Has(disk.CompatHasJournal)
}

// Every image of the corpus: its journal is read or refused with a reason, the
// walk adds up to the ring, and what e2fsck replays without complaint is what
// the overlay shows.
func TestCorpus(t *testing.T) {
	dir := testimages.Corpus(t)
	images, err := filepath.Glob(filepath.Join(dir, "*.img.gz"))
	if err != nil || len(images) == 0 {
		t.Fatal("no images", err)
	}
	looked := 0
	for _, gz := range images {
		if strings.HasSuffix(gz, ".journal.img.gz") || !hasJournal(t, gz) {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(gz), ".img.gz"), func(t *testing.T) {
			img := unpack(t, gz)
			o := &ext4fs.Options{NoReplay: true, IgnoreChecksums: true}
			args := []string{"-E", "journal_only", "-y"}
			if j := strings.TrimSuffix(gz, ".img.gz") + ".journal.img.gz"; exists(j) {
				file := unpack(t, j)
				o.Journal = open(t, file)
				args = append(args, "-j", file)
			}
			fs, err := ext4fs.Open(open(t, img), o)
			if errors.Is(err, disk.ErrCorrupt) || errors.Is(err, disk.ErrUnsupported) {
				t.Log("no file system to find a journal in:", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer fs.Close()
			log, err := fs.Journal()
			if err != nil || log == nil {
				t.Log("no journal:", err)
				return
			}
			readCorpus(t, fs, log, img, args)
			looked++
		})
	}
	if looked < len(images)/4 {
		t.Errorf("only %d of %d images have a journal to look at", looked, len(images))
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func readCorpus(t *testing.T, fs *ext4fs.FS, log journal.Log, img string, e2fsck []string) {
	t.Helper()
	sb := fs.Super()
	bs := sb.BlockSize()
	for r, err := range journal.Walk(log, bs) {
		if err != nil {
			t.Logf("walk: %d: %v", r.Block, err)
		}
	}
	for _, err := range journal.WalkFastCommits(log, bs) {
		if err != nil {
			t.Log("walk fast commits:", err)
		}
	}
	dev := fs.BaseDevice()
	o := journal.Options{BlockSize: bs, FSBlocks: uint64(dev.Size()) / uint64(bs), NeedsRecovery: sb.Features.Incompat.Has(disk.IncompatRecover)}
	rec, err := journal.Load(t.Context(), log, o)
	if err != nil {
		t.Log("refused:", err)
		var be *journal.BlockError
		if !errors.Is(err, disk.ErrCorrupt) && !errors.Is(err, disk.ErrChecksum) && !errors.Is(err, disk.ErrUnsupported) && !errors.As(err, &be) {
			t.Errorf("an error of no kind: %v", err)
		}
		o.IgnoreChecksums = true
		rec, err = journal.Load(t.Context(), log, o)
		t.Log("ignored:", rec, err)
		return
	}
	if !rec.Needed {
		return
	}
	t.Log(rec)
	out, err := exec.Command("e2fsck", append(e2fsck, img)...).CombinedOutput()
	if err != nil || !onlyReplayed(string(out)) {
		return // it repaired more
	}
	for n, b := range differing(t, rec.Overlay(dev), open(t, img), bs) {
		if super := int64(disk.SuperblockOffset / bs); n != super && !disk.NeedsEscape(b[1]) {
			t.Errorf("block %d differs", n)
		}
	}
}

// onlyReplayed reports whether e2fsck spoke of nothing but recovery.
func onlyReplayed(out string) bool {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "e2fsck 1.") && !strings.HasSuffix(line, ": recovering journal\n") {
			return false
		}
	}
	return true
}
